package session_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db/dbtest"
	"cairn/internal/session"
	"cairn/internal/testkit"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// site is one instance: a manager, and a server whose handlers are the test's own beside the four that all tests need.
type site struct {
	*session.Manager
	*httptest.Server
}

type handlers map[string]func(m *session.Manager, w http.ResponseWriter, r *http.Request)

func newSite(t *testing.T, o session.Options, own handlers) site {
	t.Helper()
	o.StatementTimeout = cmp.Or(o.StatementTimeout, testkit.Patience)
	o.LookupTimeout = cmp.Or(o.LookupTimeout, testkit.Patience)
	m := session.New(o)
	mux := http.NewServeMux()
	mux.HandleFunc("/signin/{user}", func(w http.ResponseWriter, r *http.Request) {
		var user int64
		_, _ = fmt.Sscan(r.PathValue("user"), &user)
		if err := signInAs(r.Context(), m, user, !r.URL.Query().Has("non-persistent")); err != nil {
			http.Error(w, "failed", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/who", func(w http.ResponseWriter, r *http.Request) {
		current, ok := session.Current(r.Context())
		_, _ = fmt.Fprint(w, ok, " ", current.UserID, " ", m.PopFlash(r.Context()))
	})
	mux.HandleFunc("/out", func(_ http.ResponseWriter, r *http.Request) {
		if err := m.SignOut(r.Context()); err != nil {
			panic(err)
		}
	})
	mux.HandleFunc("/rotate", func(w http.ResponseWriter, r *http.Request) {
		if err := rotate(r.Context(), m); err != nil {
			http.Error(w, "failed", http.StatusServiceUnavailable)
		}
	})
	for pattern, h := range own {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { h(m, w, r) })
	}
	server := httptest.NewUnstartedServer(recovered(m.Handler(session.Hooks{
		Address: func(*http.Request) string { return "192.0.2.1" },
		Gone:    func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "gone", http.StatusUnauthorized) },
		Failed: func(w http.ResponseWriter, _ *http.Request, _ error) {
			http.Error(w, "failed", http.StatusServiceUnavailable)
		},
	})(mux)))
	if o.Secure {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return site{m, server}
}

// recovered responds to a panic, as the routes do.
func recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() != nil {
				http.Error(w, "panicked", http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// signInAs begins a session without a credential.
func signInAs(ctx context.Context, m *session.Manager, user int64, persistent bool) error {
	return m.SignIn(ctx, session.SignIn{Method: "password", Persistent: persistent},
		func(context.Context, pgx.Tx) (int64, error) { return user, nil })
}

// rotate gives the session a new token and changes nothing else.
func rotate(ctx context.Context, m *session.Manager) error {
	return m.ChangeAccess(ctx, "", func(context.Context, pgx.Tx) (string, error) { return "", nil })
}

// browser is a client with cookies that does not follow redirects.
type browser struct {
	t *testing.T
	*http.Client
}

func newBrowser(t *testing.T, s site) browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return browser{t, &http.Client{Jar: jar, Transport: s.Client().Transport, Timeout: 2 * testkit.Patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// copied returns a browser with the same cookies as they are now: a thief, or a request that was sent earlier.
func (b browser) copied(s site) browser {
	c := newBrowser(b.t, s)
	u := mustURL(b.t, s.URL)
	c.Jar.SetCookies(u, b.Jar.Cookies(u))
	return c
}

type response struct {
	status int
	body   string
	header http.Header
	cookie *http.Cookie // the session cookie that it set
}

func (b browser) get(url string) response {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := b.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	a := response{status: resp.StatusCode, body: strings.TrimSpace(string(body)), header: resp.Header}
	for _, cookie := range resp.Cookies() {
		if strings.HasSuffix(cookie.Name, "session") {
			a.cookie = cookie
		}
	}
	return a
}

// want checks a response's status and how its body begins.
func (a response) want(t *testing.T, status int, body string) response {
	t.Helper()
	if a.status != status || !strings.HasPrefix(a.body, body) {
		t.Fatalf("got %d %q, want %d %q", a.status, a.body, status, body)
	}
	return a
}

func newUser(t *testing.T, pool *pgxpool.Pool) int64 {
	t.Helper()
	return scalar[int64](t, pool, `INSERT INTO cairn.users (display_name) VALUES ('Ada') RETURNING id`)
}

func signIn(t *testing.T, s site, user int64) browser {
	t.Helper()
	b := newBrowser(t, s)
	b.get(s.URL+fmt.Sprint("/signin/", user)).want(t, 200, "")
	b.get(s.URL+"/who").want(t, 200, fmt.Sprint("true ", user))
	return b
}

func scalar[T any](t *testing.T, pool *pgxpool.Pool, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := pool.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func exec(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

func sessionsOf(t *testing.T, pool *pgxpool.Pool, user int64) int {
	t.Helper()
	return scalar[int](t, pool, `SELECT count(*)::int FROM cairn.sessions WHERE user_id = $1`, user)
}
