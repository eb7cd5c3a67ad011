package testkit

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"
)

// Password is the password of all accounts.
const Password = "granite lichen and slow rain"

// Browser is a client with cookies that follows redirects, to the sandbox's consent pages too.
type Browser struct {
	t *testing.T
	*http.Client
}

// NewBrowser returns a browser without cookies.
func NewBrowser(t *testing.T) Browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return Browser{t, &http.Client{Jar: jar, Timeout: Patience, Transport: NewTransport(t)}}
}

// NewTransport returns a transport of the test's own. The end of any httptest.Server closes idle connections of the
// default one, and a request of another test that was about to use one fails.
func NewTransport(t testing.TB) http.RoundTripper {
	own := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(own.CloseIdleConnections)
	return own
}

// Send sends a request, with a form unless form is nil, and follows redirects.
func (b Browser) Send(method, address string, form url.Values) (int, *goquery.Document) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := b.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	page, err := goquery.NewDocumentFromReader(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	page.Url = resp.Request.URL
	return resp.StatusCode, page
}

// SignUp makes an account and signs in. If the sandbox takes mail, the link in its message makes the account.
func (b Browser) SignUp(site, email string) {
	b.t.Helper()
	form := url.Values{"name": {"Ada"}, "email": {email}, "password": {Password}}
	status, page := b.Send(http.MethodPost, site+"/signup", form)
	if mailbox, ok := page.Find("main a[href$='/sandbox/mail']").Attr("href"); ok {
		_, page = b.Send(http.MethodGet, b.mailedLink(mailbox, email, "Confirm your e-mail"), nil)
		about := page.Find("main input[name=about]").AttrOr("value", "")
		status, page = b.Send(http.MethodPost, site+"/signup/confirm", url.Values{"about": {about}})
	}
	if status != http.StatusOK || page.Find("header a[href='/account']").Length() == 0 {
		b.t.Fatalf("sign-up answered %d: %s", status, page.Find("main").Text())
	}
}

// mailedLink returns the link in the newest message to an address, with a subject, in the sandbox's mailbox.
func (b Browser) mailedLink(mailbox, to, subject string) (link string) {
	b.t.Helper()
	Eventually(b.t, "a message to "+to+" about "+subject, func() bool {
		_, list := b.Send(http.MethodGet, mailbox, nil)
		message := list.Find("li").FilterFunction(func(_ int, li *goquery.Selection) bool {
			return strings.Contains(li.Text(), "to "+to+" ") && strings.TrimSpace(li.Find("a").Text()) == subject
		}).First().Find("a")
		if message.Length() == 0 {
			return false
		}
		at, err := list.Url.Parse(message.AttrOr("href", ""))
		if err != nil {
			b.t.Fatal(err)
		}
		_, opened := b.Send(http.MethodGet, at.String(), nil)
		link = opened.Find("a.button").AttrOr("href", "")
		return true
	})
	return link
}

// SignIn begins a persistent session.
func (b Browser) SignIn(site, email string) {
	b.t.Helper()
	form := url.Values{"email": {email}, "password": {Password}, "keep": {"on"}}
	status, page := b.Send(http.MethodPost, site+"/login", form)
	if status != http.StatusOK || page.Find("header a[href='/account']").Length() == 0 {
		b.t.Fatalf("sign-in answered %d: %s", status, page.Find("main").Text())
	}
}

// Connect connects a provider as one of the sandbox's people, and allows everything on the consent page.
func (b Browser) Connect(site, provider, person string) {
	b.t.Helper()
	status, consent := b.Send(http.MethodPost, site+"/connect/"+provider, url.Values{"next": {"/connections"}})
	if status != http.StatusOK || consent.Find("input[name=person]").Length() == 0 {
		b.t.Fatalf("%s: want the consent page, got %d: %s", provider, status, consent.Find("main").Text())
	}
	form := url.Values{"person": {person}, "decision": {"allow"}}
	consent.Find("input[type=checkbox]").Each(func(_ int, box *goquery.Selection) {
		form.Add(box.AttrOr("name", ""), box.AttrOr("value", ""))
	})
	status, page := b.Send(http.MethodPost, consent.Url.String(), form)
	if status != http.StatusOK || page.Find("#card-"+provider+"[data-state=active]").Length() != 1 {
		b.t.Fatalf("%s: allowing was answered %d: %s", provider, status, page.Find("main").Text())
	}
}

// Check presses "Check now", which has to find that the connection works.
func (b Browser) Check(site, provider string) {
	b.t.Helper()
	status, page := b.Send(http.MethodPost, site+"/connections/"+provider+"/check", url.Values{})
	if status != http.StatusOK || !strings.Contains(page.Find("#notice").Text(), "works") {
		b.t.Fatalf("checking %s answered %d %q", provider, status, page.Find("#notice, h1").Text())
	}
}

// WantConnected checks that the browser is signed in and sees this many working connections.
func (b Browser) WantConnected(site string, connections int) {
	b.t.Helper()
	status, page := b.Send(http.MethodGet, site+"/connections", nil)
	if status != http.StatusOK || page.Find("header a[href='/account']").Length() == 0 {
		b.t.Fatalf("not signed in: %d %s", status, page.Find("h1").Text())
	}
	if n := page.Find(".card[data-state=active]").Length(); n != connections {
		b.t.Fatalf("%d working connections, want %d", n, connections)
	}
}
