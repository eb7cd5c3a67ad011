package routes_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"cairn/internal/oauth"
	"cairn/internal/oauth/strava"
	"cairn/internal/routes"
	"cairn/internal/session"
)

func mustParse(t testing.TB, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestSecurityHeadersOnEveryAnswer(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, options{ready: func(context.Context) error { panic("on purpose") }})
	b := signedUp(t, s, "ada@example.org")
	for path, status := range map[string]int{
		"/":                         200,
		"/account":                  200,
		"/nothing":                  404,
		"/account/x.css":            404,
		"/logout":                   405,
		"/static/cairn.css":         200,
		"/healthz":                  200,
		"/api/auth/me":              200,
		"/readyz":                   500,
		"/api/strava/auth/callback": 303,
	} {
		a := b.get(path)
		if a.status != status {
			t.Errorf("%s: status %d, want %d", path, a.status, status)
		}
		csp := a.header.Get("Content-Security-Policy")
		for _, want := range []string{
			"default-src 'none'",
			"frame-ancestors 'none'",
			"base-uri 'none'",
			"object-src 'none'",
			"script-src 'self'; connect-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; ",
			"form-action 'self' http://127.0.0.1:",
		} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: CSP %q lacks %q", path, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") ||
			a.header.Get("X-Content-Type-Options") != "nosniff" ||
			a.header.Get("Referrer-Policy") == "" ||
			a.header.Get("Cross-Origin-Opener-Policy") != "same-origin" ||
			!strings.Contains(a.header.Get("Content-Type"), "charset=utf-8") {
			t.Errorf("%s: headers %v", path, a.header)
		}
		if path != "/static/cairn.css" && a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Cache-Control %q", path, a.header.Get("Cache-Control"))
		}
		if a.header.Get("Strict-Transport-Security") != "" {
			t.Errorf("%s: HSTS on plain http", path)
		}
	}
	secure := httptest.NewRecorder()
	overTLS := newSiteWith(t, options{public: "https://cairn.example.org"})
	overTLS.handler.ServeHTTP(secure, httptest.NewRequest(http.MethodGet, "/", nil))
	if got := secure.Header().Get("Strict-Transport-Security"); !strings.HasPrefix(got, "max-age=63072000") {
		t.Errorf("HSTS is %q over https", got)
	}
}

func TestVisitorsGetNoCookie(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := newBrowser(t, s)
	for _, path := range []string{
		"/", "/login", "/signup", "/nothing", "/static/cairn.css", "/healthz", "/api/auth/me",
	} {
		if cookie := b.get(path).header.Get("Set-Cookie"); cookie != "" {
			t.Errorf("%s sets %q", path, cookie)
		}
	}
	s.pool.Close() // and no query either
	for path, status := range map[string]int{
		"/":                 200,
		"/login":            200,
		"/signup":           200,
		"/nothing":          404,
		"/static/cairn.css": 200,
		"/healthz":          200,
		"/health":           200,
		"/api/auth/me":      401,
	} {
		b.get(path).want(status, "", "")
	}
}

func TestErrorPages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	b.get("/nothing").want(404, "h1", "nothing here").want(404, "header a[href='/account']", "Ada")
	b.post("/connect/facebook").want(404, "h1", "nothing here")
	b.do(http.MethodPost, "/login", url.Values{"email": {strings.Repeat("a", 70_000)}}).want(413, "h1", "too large")
	b.do(http.MethodPost, "/login", url.Values{"%zz": nil}).want(422, "", "")
	a := b.do("TRACE", "/", nil).want(405, "h1", "")
	if a.header.Get("Allow") != "GET, HEAD" {
		t.Errorf("Allow is %q", a.header.Get("Allow"))
	}
	shutDatabase(t, s)
	a = b.get("/account").want(503, "h1", "database")
	if a.header.Get("Retry-After") == "" || a.header.Get("Set-Cookie") != "" {
		t.Errorf("headers %v: no Retry-After, or the cookie is touched", a.header)
	}
	b.get("/api/auth/me").want(503, "", "")
	b.get("/readyz").want(503, "", "")
	b.get("/healthz").want(200, "", "")
}

// shutDatabase closes all connections to the site's database and refuses new ones.
func shutDatabase(t *testing.T, s site) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), os.Getenv("TEST_DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	name := s.pool.Config().ConnConfig.Database
	shut := "ALTER DATABASE " + pgx.Identifier{name}.Sanitize() + " WITH ALLOW_CONNECTIONS false"
	if _, err := conn.Exec(t.Context(), shut); err != nil {
		t.Fatal(err)
	}
	_, err = conn.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1`, name)
	if err != nil {
		t.Fatal(err)
	}
}

// Callback paths are configured: one that is the path of a page, or of another callback, is refused at start.
func TestCallbackPathsMustBeFree(t *testing.T) {
	t.Parallel()
	at := func(path string) *oauth.Provider {
		return strava.New(oauth.App{RedirectURL: "http://localhost" + path})
	}
	for path, free := range map[string]bool{
		"/api/strava/auth/callback": true,
		"/cb":                       true,
		"/login/callback":           true,
		"/":                         false,
		"/login":                    false,
		"/account":                  false,
		"/healthz":                  false,
		"/api/auth/me":              false,
		"/static/callback":          false,
		"/api/garmin/callback":      false,
	} {
		_, err := routes.New(routes.Deps{
			PublicURL: &url.URL{Scheme: "http", Host: "localhost"},
			Log:       slog.New(slog.DiscardHandler),
			Web:       readWeb(t),
			Sessions:  session.New(session.Options{}),
			Providers: []*oauth.Provider{at("/api/garmin/callback"), at(path)},
		})
		if (err == nil) != free {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

func TestPanicsAreAnswered(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, options{ready: func(context.Context) error { panic(errors.New("on purpose")) }})
	a := newBrowser(t, s).get("/readyz").want(500, "h1", "Something went wrong on our side")
	reference := a.Find("#reference").Text()
	if len(reference) < 8 || !strings.Contains(s.log.String(), "id="+reference) ||
		!strings.Contains(s.log.String(), "on purpose") {
		t.Errorf("the reference %q does not lead to the cause in the log", reference)
	}
	if strings.Contains(a.body, "on purpose") || strings.Contains(a.body, "goroutine") {
		t.Error("the page shows internals")
	}
}

// Nothing is built from the Host that a client claims.
func TestHostIsNotBelieved(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := newBrowser(t, s)
	a := b.do(http.MethodPost, "/login/strava", url.Values{},
		"Host", "evil.example", "X-Forwarded-Host", "evil.example")
	if location := a.header.Get("Location"); a.status != http.StatusMisdirectedRequest || location != "" {
		t.Errorf("got %d to %q", a.status, location)
	}
}

func TestAPI(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := newBrowser(t, s)
	a := b.get("/api/auth/me").want(401, "", "")
	if strings.TrimSpace(a.body) != `{"error":"Authentication required"}` {
		t.Errorf("got %s", a.body)
	}
	b.get("/api/auth/login").to("/login")
	b = signedUp(t, s, "ada@example.org")
	var me map[string]any
	a = b.get("/api/auth/me").want(200, "", "")
	err := json.Unmarshal([]byte(a.body), &me)
	if err != nil || me["displayName"] != "Ada" || me["id"].(float64) < 1 || len(me) != 4 {
		t.Errorf("got %s", a.body)
	}
	for _, field := range []string{"avatarUrl", "lastSyncAt"} {
		if value, ok := me[field]; !ok || value != nil {
			t.Errorf("%s is %v, want null", field, value)
		}
	}
	var health struct{ Status, Timestamp string }
	err = json.Unmarshal([]byte(b.get("/health").body), &health)
	if err != nil || health.Status != "ok" || len(health.Timestamp) != 24 {
		t.Errorf("got %+v", health)
	}
	b.get("/readyz").want(200, "", "")
}

func TestAssetsAreCachedUnderTheirHash(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, newSite(t))
	page := b.get("/")
	css := page.Find("link[rel=stylesheet]").AttrOr("href", "")
	a := b.get(css).want(200, "", "")
	if !strings.Contains(a.header.Get("Cache-Control"), "immutable") ||
		!strings.HasPrefix(a.header.Get("Content-Type"), "text/css") {
		t.Errorf("%s: headers %v", css, a.header)
	}
	stale := b.get("/static/cairn.css?v=0000000000000000")
	if strings.Contains(stale.header.Get("Cache-Control"), "immutable") {
		t.Error("another version's address is kept for ever")
	}
	if again := b.get(css, "If-None-Match", a.header.Get("ETag")); again.status != http.StatusNotModified {
		t.Errorf("asking again: %d, want 304", again.status)
	}
	parts := b.get(css, "Range", "bytes=0-0"+strings.Repeat(",1-1", 1000))
	if parts.status != 200 || parts.body != a.body {
		t.Errorf("asked for parts: %d with %d bytes", parts.status, len(parts.body))
	}
	b.get("/static/nothing.css").want(404, "h1", "")
	b.get("/static/..%2fweb.go").want(404, "h1", "")
}

// The stylesheet names the font by the address under which it is cached for ever.
func TestFontIsCachedUnderItsHash(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, newSite(t))
	page := b.get("/")
	css := b.get(page.Find("link[rel=stylesheet]").AttrOr("href", "")).body
	font := page.Find("link[rel=preload][as=font]").AttrOr("href", "")
	if font == "" || !strings.Contains(css, "url("+font+")") {
		t.Fatalf("the page loads the font from %q, and the stylesheet from elsewhere", font)
	}
	a := b.get(font).want(200, "", "")
	if a.header.Get("Content-Type") != "font/woff2" || !strings.Contains(a.header.Get("Cache-Control"), "immutable") {
		t.Errorf("headers %v", a.header)
	}
}

func TestFilesAtTheRoot(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, newSite(t))
	for path, kind := range map[string]string{
		"/favicon.ico": "image/x-icon", "/apple-touch-icon.png": "image/png",
		"/manifest.webmanifest": "application/manifest+json", "/robots.txt": "text/plain",
	} {
		a := b.get(path).want(200, "", "")
		if !strings.HasPrefix(a.header.Get("Content-Type"), kind) || a.header.Get("ETag") == "" || a.body == "" {
			t.Errorf("%s: headers %v", path, a.header)
		}
	}
	var manifest struct{ Icons []struct{ Src string } }
	if err := json.Unmarshal([]byte(b.get("/manifest.webmanifest").body), &manifest); err != nil {
		t.Fatal(err)
	}
	for _, icon := range manifest.Icons {
		b.get(icon.Src).want(200, "", "")
	}
	b.get("/.well-known/change-password").to("/account#h-password")
}

// Pages are compressed, and the length is padded.
func TestAnswersAreCompressed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := newBrowser(t, s)
	css := b.get("/").Find("link[rel=stylesheet]").AttrOr("href", "")
	lengths := map[int]bool{}
	for i := range 8 {
		a := b.get("/login?email="+strings.Repeat(strconv.Itoa(i), 9), "Accept-Encoding", "gzip")
		if a.header.Get("Content-Encoding") != "gzip" || !strings.Contains(a.header.Get("Vary"), "Accept-Encoding") {
			t.Fatalf("headers %v", a.header)
		}
		lengths[len(a.body)] = true
	}
	if len(lengths) < 2 {
		t.Errorf("pages of one form have the lengths %v", lengths)
	}
	packed, plain := b.get(css, "Accept-Encoding", "gzip"), b.get(css, "Accept-Encoding", "identity")
	if len(packed.body) > len(plain.body)/3 || plain.header.Get("Content-Encoding") != "" {
		t.Errorf("the stylesheet has %d bytes, and %d compressed", len(plain.body), len(packed.body))
	}
	for _, small := range []string{"/healthz", "/favicon.ico"} {
		if a := b.get(small, "Accept-Encoding", "gzip"); a.header.Get("Content-Encoding") != "" {
			t.Errorf("%s is compressed", small)
		}
	}
}

// A whole visit, with refusals, leaves no secret in the log.
func TestLogHasNoSecrets(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	b.post("/login", "email", "ada@example.org", "password", "hunter2hunter2")
	b.get("/login?next=/&x=hunter2hunter2")
	b.get("/hunter2hunter2/hunter2hunter2?code=hunter2hunter2")
	b.get("/", "X-Request-Id", "hunter2hunter2", "User-Agent", "hunter2hunter2\tlevel=ERROR")
	callback := b.decide(b.consent("/connect/strava"), "ada", "allow")
	b.get(callback)
	b.get(callback)
	b.connect("foursquare", "ada")
	b.post("/connections/foursquare/check")
	if err := s.sandbox.SetSwitch(t.Context(), "foursquare", "api", "500"); err != nil {
		t.Fatal(err)
	}
	b.post("/connections/foursquare/check").want(502, "", "")
	sent := mustParse(t, callback).Query()
	secrets := []string{
		"hunter2", password, "s3cr3t", "ada@example.org", "oauth_token", sent.Get("code"), sent.Get("state"),
	}
	for _, cookie := range b.Jar.Cookies(mustParse(t, s.url)) {
		secrets = append(secrets, cookie.Value)
	}
	log := s.log.String()
	for _, secret := range secrets {
		if strings.Contains(log, secret) {
			t.Errorf("the log has %q", secret)
		}
	}
	for _, want := range []string{
		"route=/api/strava/auth/callback",
		"status=303",
		"duration_ms=",
		"method=POST",
		`msg="signed up"`,
		"msg=connected",
		`msg="sign-in refused"`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q", want)
		}
	}
}
