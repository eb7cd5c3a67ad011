package routes_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"cairn/internal/testkit"
	"cairn/web"
)

// FuzzRequests sends arbitrary requests to each route, from a person who has just signed in and has
// connected all providers. The routes are the router's own and the fields those of
// our pages, so that a new form is included without a change here. No answer may be 500 or more,
// except where a provider is called, which may have refused.
func FuzzRequests(f *testing.F) {
	testkit.Long(f)
	simulated := &simulatedProviders{}
	loopback := netip.MustParsePrefix("127.0.0.1/32")
	s := fronted(f, func(o *options) { o.heard, o.proxies = simulated.instead, []netip.Prefix{loopback} })
	all := routesOf(f, s)
	b := signedUp(f, s, "ada@example.org")
	for _, p := range s.providers {
		b.connect(p.Key, "ada").to("/")
	}
	token := giveLink(f, s, 7, count(f, s, `SELECT id::int FROM cairn.users`))
	before := s.keep(f)
	cookie := b.Jar.Cookies(mustParse(f, s.url))[0].String()
	simulated.answer("", "") // from here on they refuse

	for i, r := range all {
		for _, odd := range oddTexts {
			escaped := url.QueryEscape(odd)
			if strings.Contains(r.pattern, "{") {
				f.Add(uint(i), odd, "", "", formType, "")
			}
			query := "next=" + escaped + "&state=" + theState + "&code=" + escaped + "&scope=" + escaped +
				"&hub.mode=subscribe&hub.verify_token=verify-me&hub.challenge=" + escaped
			f.Add(uint(i), "", query, "", formType, odd)
			if r.method == http.MethodPost {
				f.Add(uint(i), "", "", filled(escaped), formType, "")
			}
		}
		if r.method == http.MethodPost {
			f.Add(uint(i), "", "", "%", "multipart/form-data; boundary=x", "")
			f.Add(uint(i), "", "", "%", "\xff/;;", "")
		}
		f.Add(uint(i), "", "state="+theState+"&state="+theState+"&code=x", filled("x")+filled("x"), formType, "")
	}
	for i, r := range all {
		if strings.HasPrefix(r.pattern, "/webhooks/") {
			for _, odd := range oddTexts {
				for _, body := range []string{
					`{"activities":[{"userId":"` + adasGarmin + `","summaryId":"` + odd + `",` +
						`"activityName":"` + odd + `","startTimeInSeconds":1760770192}],` +
						`"deregistrations":[{"userId":"` + odd + `"}]}`,
					`{"object_type":"athlete","owner_id":"` + odd + `","updates":{"authorized":"false"}}`,
					"checkin=" + url.QueryEscape(`{"id":"`+odd+`","user":{"id":"`+odd+`"}}`),
				} {
					f.Add(uint(i), "", "", body, formType, "")
				}
			}
		}
	}
	changed := true // by the request before
	f.Fuzz(func(t *testing.T, which uint, param, query, body, kind, header string) {
		r := all[which%uint(len(all))]
		if changed {
			s.restore(t, before)
		} else {
			s.restore(t, `DELETE FROM cairn.rate_limits`)
		}
		request := r.method + " " + r.path(param) + target("?", query) + " HTTP/1.1\r\n" +
			"Host: " + mustParse(t, s.url).Host + "\r\n" +
			"Connection: close\r\n" +
			"Cookie: " + cookie + "; signin=" + line(header) + "\r\n" +
			"Content-Type: " + line(kind) + "\r\n" +
			"User-Agent: " + line(header) + "\r\n" +
			"X-Forwarded-For: " + line(header) + "\r\n" +
			"Traceparent: " + line(header) + "\r\n" +
			"garmin-client-id: garmin-id\r\n" +
			"X-Auth-Token: " + token + "\r\n" +
			fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)) + body
		status, heading := s.raw(t, request)
		// What is refused has changed nothing, so it needs no restored rows after it.
		refused := status >= 400 && status < 500
		changed = !refused && (r.method != http.MethodGet || r.asksProvider())
		gateway := status == http.StatusBadGateway || status == http.StatusGatewayTimeout
		if status >= 500 && !(gateway && r.asksProvider()) {
			t.Errorf("%s %s: %d %s\nparam %q, query %q, body %q, type %q, header %q",
				r.method, r.pattern, status, heading, param, query, body, kind, header)
		}
	})
}

const (
	adasGarmin = "d3315b1072e84c1f9a7c1f0e5b6a9c01"
	theState   = "AAAAAAAAAAAAAAAAAAAAAAAAAA"
)

// oddTexts have surprised programs before.
var oddTexts = []string{
	"a\x00b", "\xff\xfe", "\xed\xa0\x80", "\\u0000", "\\ud800", "\u202eevil",
	"a\r\nX-Evil: 1", "%zz&&==;;", "//../etc/passwd", "9223372036854775808", "<script>alert('1')</script>",
	strings.Repeat("x", 9000), strings.Repeat("ü", 30_000),
}

// route is a route of the router.
type route struct{ method, pattern string }

func routesOf(t testing.TB, s site) (all []route) {
	t.Helper()
	add := func(method, pattern string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if !strings.HasPrefix(pattern, "/sandbox") {
			all = append(all, route{method, pattern})
		}
		return nil
	}
	err := chi.Walk(s.handler.(chi.Routes), add)
	if err != nil || len(all) < 30 {
		t.Fatalf("%d routes, error %v", len(all), err)
	}
	slices.SortFunc(all, func(a, b route) int { return strings.Compare(a.pattern+a.method, b.pattern+b.method) })
	return all
}

var placeholder = regexp.MustCompile(`\{\w+\}`)

// path is an address of the route, with param in it; "": one that leads somewhere.
func (r route) path(param string) string {
	usual := map[string]string{
		"{provider}": "strava", "{key}": webhookKey, "{id}": "1", "{job}": "1", "{file}": "cairn.css",
	}
	return placeholder.ReplaceAllStringFunc(r.pattern, func(name string) string {
		if param == "" || name == "{key}" {
			return usual[name]
		}
		return target("", param)
	})
}

func (r route) asksProvider() bool {
	return strings.HasSuffix(r.pattern, "/callback") ||
		strings.HasSuffix(r.pattern, "/check") ||
		strings.HasSuffix(r.pattern, "/disconnect")
}

// fields are the names of the fields of all our pages.
var fields = regexp.MustCompile(`<(?:input|textarea|select|button)[^>]*\sname="?([\w.-]+)`)

// filled is a form with a value in every field.
func filled(escaped string) string {
	form := map[string]bool{"checkin": true, "user": true}
	_ = fs.WalkDir(web.Files, ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".html") {
			page, _ := fs.ReadFile(web.Files, path)
			for _, field := range fields.FindAllStringSubmatch(string(page), -1) {
				form[field[1]] = true
			}
		}
		return nil
	})
	var body strings.Builder
	for name := range form {
		body.WriteString(name + "=" + escaped + "&")
	}
	return body.String()
}

// line makes of s what can stand in a header, and target what can stand in a request's first line.
func line(s string) string { return strings.NewReplacer("\r", "", "\n", "", "\x00", "").Replace(s) }

func target(sign, s string) string {
	if s == "" {
		return ""
	}
	return sign + strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}

// raw sends bytes and reads the status and the heading of the answer.
func (s site) raw(t testing.TB, request string) (status int, heading string) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	_, _ = io.WriteString(conn, request) // may be refused before its end
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err.Error() // the connection was reset, because part of a large body was not read
	}
	page, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if _, after, ok := strings.Cut(string(page), "<h1"); ok {
		heading, _, _ = strings.Cut(after, "</h1>")
	}
	return resp.StatusCode, heading
}

// people are the tables with people's rows, which are all deleted with those of the first, but for the last.
var people = []string{"users", "passwords", "identities", "sessions", "connections", "node_users"}

// keep stores copies of all rows of people.
func (s site) keep(t testing.TB) (restore string) {
	t.Helper()
	restore = `DELETE FROM cairn.rate_limits; DELETE FROM cairn.users; DELETE FROM cairn.node_users;
		DELETE FROM cairn.oauth_attempts;`
	for _, table := range people {
		if _, err := s.pool.Exec(t.Context(), `CREATE TABLE kept_`+table+` AS SELECT * FROM cairn.`+table); err != nil {
			t.Fatal(err)
		}
		restore += `INSERT INTO cairn.` + table + ` OVERRIDING SYSTEM VALUE SELECT * FROM kept_` + table + `;`
	}
	return restore + `
		UPDATE cairn.sessions SET created = now();
		UPDATE cairn.budgets SET paused_until = NULL, quarter_limit = NULL, day_limit = NULL;
		INSERT INTO cairn.oauth_attempts (state_hash, provider, purpose, user_id, session_id, verifier, return_path)
		SELECT sha256('` + theState + `'), 'strava', 'connect', user_id, id, 'x', '/' FROM cairn.sessions;`
}

// restore brings the copies back.
func (s site) restore(t testing.TB, kept string) {
	t.Helper()
	if _, err := s.pool.Exec(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
}

// simulatedProviders give the answers that are set, once some are.
type simulatedProviders struct {
	mu       sync.Mutex
	speaking bool
	token    string // the answer of a token address; "": it refuses
	api      string // the answer of all else; "": it refuses
}

func (p *simulatedProviders) answer(token, api string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.speaking, p.token, p.api = true, token, api
}

func (p *simulatedProviders) instead(sandbox http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		speaking, text := p.speaking, p.api
		if strings.Contains(r.URL.Path, "token") {
			text = p.token
		}
		p.mu.Unlock()
		if !speaking {
			sandbox.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if text == "" {
			w.WriteHeader(http.StatusBadRequest)
			text = `{"error":"invalid_grant"}`
		}
		_, _ = io.WriteString(w, text)
	})
}

// FuzzAnswers makes the providers give arbitrary answers. Each is either stored and shown, or rejected:
// no page is answered 500, and PostgreSQL refuses nothing.
func FuzzAnswers(f *testing.F) {
	testkit.Long(f)
	simulated := &simulatedProviders{}
	s := newSiteWith(f, options{heard: simulated.instead})
	b := signedUp(f, s, "ada@example.org")
	before := s.keep(f)
	for i := range s.providers {
		for _, odd := range oddTexts {
			odd = strings.NewReplacer(`"`, `\"`, "\x00", `\u0000`, "\r", "", "\n", "").Replace(odd)
			f.Add(uint(i), odd, `{"id":"`+odd+`","userId":"`+odd+`","response":{"user":{"id":"`+odd+`"}}}`)
			f.Add(uint(i), odd, `{"id":7,"firstname":"`+odd+`","lastname":"`+odd+`",`+
				`"profile":"https://x.example/`+odd+`",`+
				`"userId":"7","permissions":["ACTIVITY_EXPORT","`+odd+`"],`+
				`"response":{"user":{"id":7,"firstName":"`+odd+`",`+
				`"photo":{"prefix":"https://x.example/`+odd+`","suffix":"`+odd+`"}}}}`)
			f.Add(uint(i), odd, `[{"id":7,"name":"`+odd+`","type":"`+odd+`",`+
				`"start_date":"2026-01-01T00:00:00Z","device_name":"Garmin`+odd+`",`+
				`"map":{"summary_polyline":"`+odd+`"}},{"id":"`+odd+`"}]`)
			f.Add(uint(i), odd, `{"response":{"checkins":{"items":[{"id":"`+odd+`","createdAt":1760770192},`+
				`{"id":"7","createdAt":1760770192,"venue":{"id":"`+odd+`","name":"`+odd+`",`+
				`"location":{"city":"`+odd+`","country":"`+odd+`"},"categories":[{"name":"`+odd+`"}]}}]}}}`)
		}
	}
	f.Fuzz(func(t *testing.T, which uint, scope, api string) {
		b := browser{t, s, b.Client}
		p := s.providers[which%uint(len(s.providers))]
		s.restore(t, before)
		quoted, _ := json.Marshal(scope)
		token := `{"access_token":"a","refresh_token":"r","expires_in":3600,"scope":` + string(quoted) + `}`
		who := map[string]string{
			"strava":     `{"id":7}`,
			"garmin":     `{"userId":"7","permissions":["ACTIVITY_EXPORT"]}`,
			"foursquare": `{"response":{"user":{"id":7}}}`,
		}[p.Key]

		callback := func() string {
			state := mustParse(t, b.consent("/connect/"+p.Key)).Query().Get("state")
			return p.CallbackPath() + "?code=x&state=" + state
		}
		simulated.answer(token, api)
		if a := b.get(callback()); a.status != http.StatusSeeOther && a.status != http.StatusBadGateway {
			t.Fatalf("%s: connecting is answered %d", p.Key, a.status)
		}
		b.get("/account").want(200, "h1", "")
		simulated.answer(token, who)
		s.restore(t, before)
		b.get(callback()).to("/")
		simulated.answer(token, api)
		a := b.post("/connections/" + p.Key + "/check")
		if a.status != http.StatusSeeOther && a.status != http.StatusBadGateway {
			t.Fatalf("%s: checking is answered %d", p.Key, a.status)
		}
		var identity int64
		err := s.pool.QueryRow(t.Context(), `SELECT identity_id FROM cairn.connections`).Scan(&identity)
		if err != nil {
			t.Fatal(err)
		}
		err = s.entries.Fetch(t.Context(), p, identity)
		if pg, refused := errors.AsType[*pgconn.PgError](err); refused {
			t.Errorf("%s: PostgreSQL refuses entries: %v", p.Key, pg)
		}
		b.get("/").want(200, "h1", "")
	})
}
