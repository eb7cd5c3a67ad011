package sandbox_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"cairn/db/dbtest"
	"cairn/internal/sandbox"
	"cairn/internal/testkit"

	"github.com/jackc/pgx/v5/pgxpool"
)

var redirectURIs = map[string]string{
	sandbox.Strava:     "http://cairn.test/api/strava/auth/callback",
	sandbox.Garmin:     "http://cairn.test/api/garmin/callback",
	sandbox.Foursquare: "http://cairn.test/api/auth/callback",
}

// rig is a sandbox served over HTTP and a client that follows no redirects.
type rig struct {
	*sandbox.Sandbox
	t       *testing.T
	pool    *pgxpool.Pool
	base    string
	browser *http.Client
}

func newRig(t *testing.T) rig {
	t.Helper()
	return rigOn(t, dbtest.New(t))
}

// rigOn starts one more instance on the same database.
func rigOn(t *testing.T, pool *pgxpool.Pool) rig {
	t.Helper()
	return serve(t, optionsFor(t, pool, ""))
}

// serve puts the sandbox on a port of its own, which becomes its base URL.
func serve(t *testing.T, o sandbox.Options) rig {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	o.BaseURL = "http://" + server.Listener.Addr().String() + "/sandbox"
	s, err := sandbox.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = s.Handler()
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(s.Close)
	return rig{s, t, o.Pool, o.BaseURL, server.Client()}
}

func optionsFor(t *testing.T, pool *pgxpool.Pool, base string) sandbox.Options {
	apps := map[string]sandbox.App{}
	for provider, uri := range redirectURIs {
		apps[provider] = sandbox.App{ClientID: provider + "-id", ClientSecret: provider + "-secret", RedirectURI: uri}
	}
	return sandbox.Options{
		Pool:    pool,
		BaseURL: base,
		Apps:    apps,
		Log:     slog.New(slog.NewTextHandler(t.Output(), nil)),
		Limits: sandbox.Limits{
			Strava:     testkit.Patience,
			Garmin:     testkit.Patience,
			Foursquare: testkit.Patience,
			Slow:       testkit.Patience,
		},
	}
}

func (r rig) at(provider string) sandbox.Endpoints { return sandbox.EndpointsOf(r.base, provider) }

// answer is a response that has been read.
type answer struct {
	status int
	header http.Header
	body   string
	json   map[string]any
}

func (r rig) do(method, to string, form url.Values, header ...string) answer {
	r.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	request, err := http.NewRequestWithContext(r.t.Context(), method, to, body)
	if err != nil {
		r.t.Fatal(err)
	}
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := r.browser.Transport.RoundTrip(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	a := answer{status: response.StatusCode, header: response.Header, body: string(text)}
	if strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		_ = decoder.Decode(&a.json) // an array stays in body
	}
	return a
}

func (r rig) get(to, token string) answer {
	r.t.Helper()
	return r.do("GET", to, nil, "Authorization", "Bearer "+token)
}

func (a answer) text(field string) string { return fmt.Sprint(a.json[field]) }

// authorizeURL is a good authorization request, with changes as "name=value" or, to leave one out, "name".
func (r rig) authorizeURL(provider string, changes ...string) string {
	q := url.Values{
		"client_id":     {provider + "-id"},
		"redirect_uri":  {redirectURIs[provider]},
		"response_type": {"code"},
		"state":         {"st&te ü"},
	}
	switch provider {
	case sandbox.Strava:
		q.Set("scope", "read,profile:read_all,activity:read_all")
	case sandbox.Garmin:
		q.Set("code_challenge", challenge)
		q.Set("code_challenge_method", "S256")
	}
	for _, change := range changes {
		name, value, found := strings.Cut(change, "=")
		if q.Set(name, value); !found {
			q.Del(name)
		}
	}
	return r.at(provider).Authorize + "?" + q.Encode()
}

// The pair of RFC 7636, appendix B.
const (
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

// allow presses Allow as the person, with the boxes given ticked, and returns the callback's query.
func (r rig) allow(provider, person string, ticked ...string) url.Values {
	r.t.Helper()
	a := r.do("POST", r.authorizeURL(provider), url.Values{
		"person":     {person},
		"decision":   {"allow"},
		"scope":      ticked,
		"permission": ticked,
	})
	if a.status != http.StatusSeeOther {
		r.t.Fatalf("allow at %s: status %d: %s", provider, a.status, a.body)
	}
	back, err := url.Parse(a.header.Get("Location"))
	if err != nil {
		r.t.Fatal(err)
	}
	return back.Query()
}

// exchange posts a code with good credentials, changed as in authorizeURL.
func (r rig) exchange(provider, code string, changes ...string) answer {
	r.t.Helper()
	fields := []string{
		"grant_type=authorization_code",
		"code=" + code,
		"redirect_uri=" + redirectURIs[provider],
		"code_verifier=" + verifier,
	}
	return r.do("POST", r.at(provider).Token, tokenForm(provider, append(fields, changes...)...))
}

func (r rig) refresh(provider, token string) answer {
	r.t.Helper()
	return r.do("POST", r.at(provider).Token, tokenForm(provider, "grant_type=refresh_token", "refresh_token="+token))
}

func tokenForm(provider string, fields ...string) url.Values {
	form := url.Values{"client_id": {provider + "-id"}, "client_secret": {provider + "-secret"}}
	for _, field := range fields {
		name, value, found := strings.Cut(field, "=")
		if form.Set(name, value); !found {
			form.Del(name)
		}
	}
	return form
}

// connect goes all the way to the token answer.
func (r rig) connect(provider, person string, ticked ...string) answer {
	r.t.Helper()
	a := r.exchange(provider, r.allow(provider, person, ticked...).Get("code"))
	if a.status != http.StatusOK {
		r.t.Fatalf("exchange at %s: status %d: %s", provider, a.status, a.body)
	}
	return a
}

// userInfo calls the provider's identity endpoint.
func (r rig) userInfo(provider, token string) answer {
	r.t.Helper()
	api := r.at(provider).API
	return r.get(map[string]string{sandbox.Strava: api + "/athlete", sandbox.Garmin: api + "/wellness-api/rest/user/id",
		sandbox.Foursquare: api + "/users/self?v=20261101"}[provider], token)
}

// parallel does the same thing eight times at once and counts the answers by status.
func parallel(do func() answer) map[int]int {
	var (
		mu     sync.Mutex
		wg     sync.WaitGroup
		counts = map[int]int{}
	)
	for range 8 {
		wg.Go(func() {
			a := do()
			mu.Lock()
			defer mu.Unlock()
			counts[a.status]++
		})
	}
	wg.Wait()
	return counts
}

func (r rig) exec(sql string, args ...any) {
	r.t.Helper()
	if _, err := r.pool.Exec(r.t.Context(), sql, args...); err != nil {
		r.t.Fatal(err)
	}
}

func (r rig) set(provider, name, value string) {
	r.t.Helper()
	if err := r.SetSwitch(r.t.Context(), provider, name, value); err != nil {
		r.t.Fatal(err)
	}
}

func (r rig) wantStatus(what string, a answer, want int) {
	r.t.Helper()
	if a.status != want {
		r.t.Errorf("%s: status %d, want %d: %.300s", what, a.status, want, a.body)
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	for name, spoil := range map[string]func(*sandbox.Options){
		"no base URL":      func(o *sandbox.Options) { o.BaseURL = "" },
		"no path":          func(o *sandbox.Options) { o.BaseURL = "http://127.0.0.1:3001/" },
		"unknown provider": func(o *sandbox.Options) { o.Apps = map[string]sandbox.App{"polar": {ClientID: "a"}} },
		"no secret": func(o *sandbox.Options) {
			o.Apps = map[string]sandbox.App{"strava": {ClientID: "a", RedirectURI: "http://a.test/"}}
		},
	} {
		o := optionsFor(t, pool, "http://127.0.0.1:3001/sandbox")
		spoil(&o)
		if _, err := sandbox.New(t.Context(), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestInstancesStartTogether(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if _, err := sandbox.New(t.Context(), optionsFor(t, pool, "http://127.0.0.1:3001/sandbox")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestStateIsSharedAndSurvives(t *testing.T) {
	t.Parallel()
	for provider := range redirectURIs {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			first := newRig(t)
			code := first.allow(provider, "ada", "ACTIVITY_EXPORT", "activity:read").Get("code")
			second := rigOn(t, first.pool)
			tokens := second.exchange(provider, code)
			second.wantStatus("code of the first instance", tokens, http.StatusOK)
			answered := first.userInfo(provider, tokens.text("access_token"))
			first.wantStatus("token of the second instance", answered, http.StatusOK)
			second.set(provider, sandbox.API, "500")
			failed := first.userInfo(provider, tokens.text("access_token"))
			first.wantStatus("switch of the second instance", failed, http.StatusInternalServerError)
		})
	}
}

func TestProviderWithoutAppIsNotSimulated(t *testing.T) {
	t.Parallel()
	o := optionsFor(t, dbtest.New(t), "http://127.0.0.1:3001/sandbox")
	delete(o.Apps, sandbox.Garmin)
	s, err := sandbox.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for provider, want := range map[string]int{
		sandbox.Garmin: http.StatusNotFound,
		sandbox.Strava: http.StatusBadRequest,
	} {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest("GET", sandbox.EndpointsOf(o.BaseURL, provider).Authorize, nil))
		if w.Code != want {
			t.Errorf("%s: status %d, want %d", provider, w.Code, want)
		}
	}
	if err := s.SetSwitch(t.Context(), sandbox.Garmin, sandbox.Token, "500"); err == nil {
		t.Error("a switch of a provider that is not simulated was set")
	}
}

func TestNoSecretIsStored(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var secrets []string
	for provider := range redirectURIs {
		secrets = append(secrets, provider+"-secret", r.allow(provider, "zofie").Get("code"))
		tokens := r.connect(provider, "ada", "ACTIVITY_EXPORT")
		secrets = append(secrets, tokens.text("access_token"))
		if provider != sandbox.Foursquare {
			secrets = append(secrets, tokens.text("refresh_token"))
		}
	}
	var stored string
	err := r.pool.QueryRow(t.Context(), `
		SELECT concat(
			(SELECT json_agg(x) FROM cairn_sandbox.grants x),
			(SELECT json_agg(x) FROM cairn_sandbox.codes x),
			(SELECT json_agg(x) FROM cairn_sandbox.tokens x),
			(SELECT json_agg(x) FROM cairn_sandbox.requests x))`).Scan(&stored)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(stored, "zofie") {
		t.Fatal("nothing was read")
	}
	for _, secret := range secrets {
		if strings.Contains(stored, secret) {
			t.Errorf("%.12s… is stored in the clear", secret)
		}
	}
}

func TestCodesAreSpentOnce(t *testing.T) {
	t.Parallel()
	for provider := range redirectURIs {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			code := r.allow(provider, "ada").Get("code")
			counts := parallel(func() answer { return r.exchange(provider, code) })
			if counts[http.StatusOK] != 1 || counts[http.StatusBadRequest] != 7 {
				t.Errorf("statuses %v, want one 200 and seven 400", counts)
			}
			requests, err := r.TokenRequests(t.Context(), provider)
			if err != nil || requests["authorization_code"] != 8 {
				t.Errorf("recorded %v, %v; want 8 requests", requests, err)
			}
		})
	}
}

func TestCodesAgeByTheDatabaseClock(t *testing.T) {
	t.Parallel()
	for provider := range redirectURIs {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			for age, want := range map[string]int{
				"4 minutes 50 seconds": http.StatusOK,
				"5 minutes":            http.StatusBadRequest,
			} {
				code := r.allow(provider, "ada").Get("code")
				r.exec(`UPDATE cairn_sandbox.codes SET expires_at = expires_at - $1::text::interval`, age)
				r.wantStatus("code of "+age, r.exchange(provider, code), want)
			}
		})
	}
}

func TestCodesOfOneProviderMeanNothingToAnother(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	code := r.allow(sandbox.Strava, "ada").Get("code")
	r.wantStatus("at Foursquare", r.exchange(sandbox.Foursquare, code), http.StatusBadRequest)
	r.wantStatus("at Strava, still unspent", r.exchange(sandbox.Strava, code), http.StatusOK)
}

func TestTokensAreGoodForTheirPurposeOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	strava, garmin := r.connect(sandbox.Strava, "ada"), r.connect(sandbox.Garmin, "ada")
	r.wantStatus("refresh token at Strava's API",
		r.userInfo(sandbox.Strava, strava.text("refresh_token")), http.StatusUnauthorized)
	r.wantStatus("refresh token at Garmin's API",
		r.userInfo(sandbox.Garmin, garmin.text("refresh_token")), http.StatusForbidden)
	r.wantStatus("Strava's token at Garmin's API",
		r.userInfo(sandbox.Garmin, strava.text("access_token")), http.StatusForbidden)
	r.wantStatus("access token as a refresh token",
		r.refresh(sandbox.Strava, strava.text("access_token")), http.StatusBadRequest)
}

func TestConsentingAgainReplacesPermissions(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.allow(sandbox.Garmin, "ada", "ACTIVITY_EXPORT")
	r.allow(sandbox.Garmin, "ada", "HEALTH_EXPORT", "WORKOUT_IMPORT")
	grants, err := r.Grants(t.Context(), sandbox.Garmin)
	if err != nil || len(grants) != 1 {
		t.Fatalf("%v, %v; want one grant", grants, err)
	}
	if got := strings.Join(grants[0].Permissions, " "); got != "HEALTH_EXPORT" {
		t.Errorf("permissions %q, want HEALTH_EXPORT only: the other was never on the page", got)
	}
}
