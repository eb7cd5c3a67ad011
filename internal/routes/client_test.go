package routes_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"

	"cairn/internal/testkit"
)

// browser has cookies and follows no redirects.
type browser struct {
	t    testing.TB
	site site
	*http.Client
}

func newBrowser(t testing.TB, s site) browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return browser{t, s, &http.Client{Jar: jar, Timeout: testkit.Patience, Transport: testkit.NewTransport(t),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// at is the same browser at another instance.
func (b browser) at(s site) browser { return browser{b.t, s, b.Client} }

type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   string
	*goquery.Document
}

// do sends a request to a path of the site, or to a whole address. header holds names and values in turn.
func (b browser) do(method, path string, form url.Values, header ...string) answer {
	b.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = b.site.url + path
	}
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	return b.answer(r)
}

// answer sends a request and reads what comes back.
func (b browser) answer(r *http.Request) answer {
	b.t.Helper()
	resp, err := b.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	doc, err := goquery.NewDocumentFromReader(bytes.NewReader(text))
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{b.t, resp.StatusCode, resp.Header, string(text), doc}
}

func (b browser) get(path string, header ...string) answer {
	b.t.Helper()
	return b.do(http.MethodGet, path, nil, header...)
}

func (b browser) post(path string, fields ...string) answer {
	b.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	return b.do(http.MethodPost, path, form)
}

// want checks the status, and that the element exists and has the text. selector "" checks the status alone.
func (a answer) want(status int, selector, text string) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("got status %d (%q), want %d", a.status, strings.TrimSpace(a.Find("h1").Text()), status)
	}
	if selector == "" {
		return a
	}
	if found := a.Find(selector); found.Length() == 0 || !strings.Contains(found.Text(), text) {
		a.t.Fatalf("%d elements are %s, with the text %q; want %q in it", found.Length(), selector, found.Text(), text)
	}
	return a
}

// to checks that the answer redirects to an address.
func (a answer) to(location string) answer {
	a.t.Helper()
	if a.status != http.StatusSeeOther || a.header.Get("Location") != location {
		heading := strings.TrimSpace(a.Find("h1").Text())
		a.t.Fatalf("got %d to %q (%q), want 303 to %q", a.status, a.header.Get("Location"), heading, location)
	}
	return a
}

// sessionCookie is the header that sets it, "" if none does.
func (a answer) sessionCookie() string {
	for _, value := range a.header.Values("Set-Cookie") {
		if strings.HasPrefix(value, "session=") || strings.HasPrefix(value, "__Host-session=") {
			return value
		}
	}
	return ""
}

// later begins the next quarter of an hour and day of the providers' budgets, and ends all waits.
func (s site) later(t testing.TB) {
	t.Helper()
	for _, sql := range []string{
		`UPDATE cairn.budgets
		 SET paused_until = NULL, quarter = quarter - interval '15 minutes', day = day - interval '1 day'`,
		`UPDATE cairn.connections SET retry_at = NULL`,
	} {
		if _, err := s.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
}

// signedUp is a browser of a new person.
func signedUp(t testing.TB, s site, email string) browser {
	t.Helper()
	b := newBrowser(t, s)
	b.post("/signup", "name", "Ada", "email", email, "password", password).to("/")
	return b
}

// consent presses a button of ours that leads to a provider and returns the address of its consent page.
func (b browser) consent(path string, fields ...string) string {
	b.t.Helper()
	a := b.post(path, fields...)
	if a.status != http.StatusSeeOther || !strings.Contains(a.header.Get("Location"), "/sandbox/") {
		b.t.Fatalf("%s answered %d to %q", path, a.status, a.header.Get("Location"))
	}
	return a.header.Get("Location")
}

// decide answers a consent page and returns the address that the provider sends the browser back to.
func (b browser) decide(consent, person, decision string, scopes ...string) string {
	b.t.Helper()
	form := url.Values{"person": {person}, "decision": {decision}, "scope": {"read", "activity:read_all"},
		"permission": {"ACTIVITY_EXPORT", "HEALTH_EXPORT", "HISTORICAL_DATA_EXPORT"}}
	if scopes != nil {
		form["scope"], form["permission"] = scopes, scopes
	}
	a := b.do(http.MethodPost, consent, form)
	if a.status != http.StatusSeeOther {
		b.t.Fatalf("the consent page answered %d: %s", a.status, a.Find("main").Text())
	}
	back, err := url.Parse(a.header.Get("Location"))
	if err != nil {
		b.t.Fatal(err)
	}
	return back.RequestURI()
}

// connect connects a provider account, the whole way.
func (b browser) connect(provider, person string, scopes ...string) answer {
	b.t.Helper()
	return b.get(b.decide(b.consent("/connect/"+provider), person, "allow", scopes...))
}

// failed comes back from a provider without success, and returns the page that says so. Its address
// has neither code nor state.
func (b browser) failed(callback string) answer {
	b.t.Helper()
	a := b.get(callback)
	location := a.header.Get("Location")
	if a.status != http.StatusSeeOther || strings.Contains(location, "state") || strings.Contains(location, "code") {
		b.t.Fatalf("%d leads to %q, want a page whose address has neither code nor state", a.status, location)
	}
	return b.get(location)
}

func (b browser) signedIn() bool {
	b.t.Helper()
	return b.get("/").Find("header a[href='/account']").Length() > 0
}

func count(t testing.TB, s site, sql string, args ...any) int {
	t.Helper()
	var n int
	if err := s.pool.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
