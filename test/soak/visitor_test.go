package soak

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"cairn/internal/testkit"
)

// site is what visitors visit, with the transport they share and their figures.
type site struct {
	url     string
	wires   http.RoundTripper
	figures *figures
}

// newSite returns a site that is visited on kept connections, or on a new one for each request.
func newSite(url string, kept bool) site {
	return site{url, &http.Transport{MaxIdleConnsPerHost: 64, DisableKeepAlives: !kept}, newFigures()}
}

// visitor is one person at one browser. Its methods return errors, so that many visitors can run at once.
type visitor struct {
	http.Client
	site
	name, email string
}

var (
	// errSignedOut says that a visitor is signed out who should be signed in.
	errSignedOut = errors.New("signed out")
	// errLost says that no answer came. A server may or may not have carried out the request.
	errLost = errors.New("no answer")
	// errTaken says that an account with this e-mail exists.
	errTaken = errors.New("the e-mail is taken")
)

// newVisitor returns a new person.
func newVisitor(at site) *visitor {
	id := strings.ToLower(rand.Text()[:16])
	return (&visitor{site: at, name: "Ada " + id, email: id + "@example.org"}).elsewhere()
}

// elsewhere returns the same person at a new browser, with a new address because sign-ins are limited by address.
func (v *visitor) elsewhere() *visitor {
	jar, _ := cookiejar.New(nil) // never fails without options
	n := mathrand.Uint32()
	address := fmt.Sprintf("10.%d.%d.%d", byte(n>>16), byte(n>>8), byte(n))
	return &visitor{
		site: v.site, name: v.name, email: v.email,
		Client: http.Client{Jar: jar, Timeout: testkit.Patience, Transport: counting{v.site, address}},
	}
}

// signedIn reports whether the browser has a session's cookie.
func (v *visitor) signedIn() bool {
	address, _ := url.Parse(v.site.url)
	for _, cookie := range v.Jar.Cookies(address) {
		if cookie.Name == "session" {
			return true
		}
	}
	return false
}

// page is what a browser shows after redirects.
type page struct {
	status int
	url    string
	body   string
}

// open requests an address, or posts a form unless form is nil.
func (v *visitor) open(ctx context.Context, address string, form url.Values) (page, error) {
	method, body := http.MethodGet, io.Reader(http.NoBody)
	if form != nil {
		method, body = http.MethodPost, strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return page{}, err
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := v.Do(r)
	if err != nil {
		return page{}, fmt.Errorf("%w: %w", errLost, err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return page{}, fmt.Errorf("%w: %w", errLost, err)
	}
	if why := resp.Header.Get(noAnswer); why != "" {
		return page{}, fmt.Errorf("%w: %s %s: %s", errLost, method, r.URL.Path, why)
	}
	p := page{resp.StatusCode, resp.Request.URL.String(), string(text)}
	if p.status >= http.StatusBadRequest && p.status != http.StatusUnauthorized {
		return p, fmt.Errorf("%s %s answered %s", method, r.URL.Path, resp.Status)
	}
	return p, nil
}

// member opens a page, and fails with errSignedOut if it is not one for people who are signed in.
func (v *visitor) member(ctx context.Context, address string, form url.Values) (page, error) {
	p, err := v.open(ctx, address, form)
	if err == nil && !strings.Contains(p.body, `<body class="member">`) {
		return p, fmt.Errorf("%w: %d for %s", errSignedOut, p.status, address)
	}
	return p, err
}

// me asks the site who is signed in, and fails unless that is the visitor.
func (v *visitor) me(ctx context.Context) error {
	p, err := v.open(ctx, v.site.url+"/api/auth/me", nil)
	if err != nil {
		return err
	}
	var who struct{ DisplayName string }
	if err := json.Unmarshal([]byte(p.body), &who); err != nil {
		return err
	}
	if who.DisplayName != v.name {
		return fmt.Errorf("%w: the site says %q", errSignedOut, who.DisplayName)
	}
	return nil
}

func (v *visitor) signUp(ctx context.Context) error {
	form := url.Values{"name": {v.name}, "email": {v.email}, "password": {testkit.Password}}
	p, err := v.member(ctx, v.site.url+"/signup", form)
	if strings.Contains(p.body, "There is already an account with this e-mail") {
		return errTaken
	}
	return err
}

func (v *visitor) signIn(ctx context.Context) error {
	form := url.Values{"email": {v.email}, "password": {testkit.Password}, "keep": {"on"}}
	_, err := v.member(ctx, v.site.url+"/login", form)
	return err
}

func (v *visitor) signOut(ctx context.Context) error {
	p, err := v.open(ctx, v.site.url+"/logout", url.Values{})
	if err == nil && strings.Contains(p.body, `<body class="member">`) {
		return errors.New("still signed in after signing out")
	}
	return err
}

// connect goes to a provider, reads its consent page for at most reading, allows everything as person, and comes back.
func (v *visitor) connect(ctx context.Context, provider, person string, reading time.Duration) error {
	consent, err := v.open(ctx, v.site.url+"/connect/"+provider, url.Values{"next": {"/connections"}})
	if err != nil {
		return err
	}
	if !strings.Contains(consent.body, `name="person"`) {
		return fmt.Errorf("%s: no consent page, but %s", provider, strings.SplitN(consent.url, "?", 2)[0])
	}
	testkit.AtRandom(reading)
	back, err := v.member(ctx, consent.url, url.Values{
		"person": {person}, "decision": {"allow"}, "scope": {"read", "activity:read_all"},
		"permission": {"ACTIVITY_EXPORT", "HEALTH_EXPORT", "HISTORICAL_DATA_EXPORT"},
	})
	if err != nil {
		return err
	}
	if !back.connected(provider) {
		return fmt.Errorf("%s: not connected after allowing", provider)
	}
	return nil
}

func (p page) connected(provider string) bool {
	return strings.Contains(p.body, `id="card-`+provider+`" data-state="active"`)
}

// check presses "Check now", which has to find that the connection works.
func (v *visitor) check(ctx context.Context, provider string) error {
	p, err := v.member(ctx, v.site.url+"/connections/"+provider+"/check", url.Values{})
	if err == nil && !strings.Contains(p.body, "the connection works") {
		return fmt.Errorf("%s: the connection does not work", provider)
	}
	return err
}

func (v *visitor) disconnect(ctx context.Context, provider string) error {
	p, err := v.member(ctx, v.site.url+"/connections/"+provider+"/disconnect", url.Values{})
	if err == nil && p.connected(provider) {
		return fmt.Errorf("%s: still connected after disconnecting", provider)
	}
	return err
}
