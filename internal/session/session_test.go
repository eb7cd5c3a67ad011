package session_test

import (
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/pgxstore"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db/dbtest"
	"cairn/internal/session"
	"cairn/internal/testkit"
)

func mustURL(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestCookie(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	user := newUser(t, pool)
	for _, tt := range []struct {
		secure bool
		name   string
	}{{true, "__Host-session"}, {false, "session"}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, session.Options{Pool: pool, Secure: tt.secure}, nil)
			b := newBrowser(t, s)
			c := b.get(s.URL + fmt.Sprint("/signin/", user)).cookie
			if c == nil {
				t.Fatal("no cookie was set")
			}
			if c.Name != tt.name || c.Secure != tt.secure || !c.HttpOnly ||
				c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
				t.Errorf("got cookie %+v", c)
			}
			if days := c.MaxAge / 86400; days != 365 {
				t.Errorf("cookie lasts %d days, want the 365 that a session may last", days)
			}
			stored := scalar[int](t, pool, `SELECT count(*)::int FROM cairn.sessions WHERE token = $1`, c.Value)
			if stored != 0 {
				t.Error("the token is in the database as it is in the cookie")
			}
			out := b.get(s.URL + "/out").cookie
			if out == nil || out.MaxAge >= 0 || out.Name != tt.name || out.Secure != tt.secure || out.Path != "/" {
				t.Errorf("sign-out sent cookie %+v, want one that clears it", out)
			}
		})
	}
}

// With the pool closed, every query fails. A request that succeeds made none.
func TestVisitorsAndWrongShapesCauseNoQuery(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	s := newSite(t, session.Options{Pool: pool}, nil)
	pool.Close()
	for name, cookie := range map[string]string{
		"none":          "",
		"word":          "session=hello",
		"long":          "session=" + fmt.Sprintf("%04000d", 7),
		"44 characters": "session=" + fmt.Sprintf("%044d", 7),
		"no base64":     "session=" + fmt.Sprintf("%042d.", 7),
		"not canonical": "session=" + fmt.Sprintf("%042dB", 0),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/who", nil)
			if err != nil {
				t.Fatal(err)
			}
			if cookie != "" {
				r.Header.Set("Cookie", cookie)
			}
			resp, err := s.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != 200 || resp.Header.Get("Set-Cookie") != "" {
				t.Errorf("got %d, Set-Cookie %q, want 200 and none", resp.StatusCode, resp.Header.Get("Set-Cookie"))
			}
		})
	}
	t.Run("right shape queries", func(t *testing.T) {
		b := newBrowser(t, s)
		b.Jar.SetCookies(mustURL(t, s.URL), []*http.Cookie{{Name: "session", Value: fmt.Sprintf("%043d", 0)}})
		b.get(s.URL+"/who").want(t, 503, "failed")
	})
}

func TestSignInReplacesTheTokenAndTheOldSession(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	s := newSite(t, session.Options{Pool: pool}, nil)
	ada, moss := newUser(t, pool), newUser(t, pool)
	b := signIn(t, s, ada)
	before := b.copied(s)
	b.get(s.URL + fmt.Sprint("/signin/", moss))
	b.get(s.URL+"/who").want(t, 200, fmt.Sprint("true ", moss))
	before.get(s.URL+"/who").want(t, 200, "false")
	if n := sessionsOf(t, pool, ada); n != 0 {
		t.Errorf("%d sessions of the first user are left, want 0", n)
	}
}

func TestTwoInstances(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	other, err := pgxpool.NewWithConfig(t.Context(), pool.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	one, two := newSite(t, session.Options{Pool: pool}, nil), newSite(t, session.Options{Pool: other}, nil)
	user := newUser(t, pool)
	for range 20 {
		b := signIn(t, one, user) // cookies belong to a host, not to a port, so the browser shows both the same
		b.get(two.URL+"/who").want(t, 200, fmt.Sprint("true ", user))
		b2 := b.copied(two)
		b.get(one.URL + "/out")
		b2.get(two.URL+"/who").want(t, 200, "false")
		b2.get(one.URL+"/who").want(t, 200, "false")
	}
}

func TestRenewal(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name           string
		expiry, age    string // of the session, as the request finds it
		renewed, alive bool
	}{
		{"fresh", "29 days 12 hours", "12 hours", false, true},
		{"a day later", "28 days 23 hours", "25 hours", true, true},
		{"last minute", "1 minute", "29 days", true, true},
		{"over", "-1 minute", "31 days", false, false},
		{"near the absolute limit", "8 days 12 hours", "355 days", true, true},
		{"just before the absolute limit", "9 hours", "364 days 14 hours", true, true},
		{"at the absolute limit", "10 hours", "364 days 14 hours", false, true},
		{"past the absolute limit", "20 days", "366 days", false, false},
	}
	pool := dbtest.New(t)
	s := newSite(t, session.Options{Pool: pool}, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			user := newUser(t, pool)
			b := signIn(t, s, user)
			exec(t, pool, `
				UPDATE cairn.sessions SET expiry = now() + $2::interval, created = now() - $3::interval
				WHERE user_id = $1`, user, tt.expiry, tt.age)
			expiry := func() time.Time {
				return scalar[time.Time](t, pool, `SELECT expiry FROM cairn.sessions WHERE user_id = $1`, user)
			}
			limit := func() time.Time {
				return scalar[time.Time](t, pool, `
					SELECT LEAST(now() + interval '30 days', created + interval '365 days')
					FROM cairn.sessions WHERE user_id = $1`, user)
			}
			before, earliest := expiry(), limit()
			if a := b.get(s.URL+"/who").want(t, 200, fmt.Sprint(tt.alive)); a.cookie != nil {
				t.Errorf("a cookie was sent: %v", a.cookie)
			}
			after := expiry()
			if renewed := after.After(before); renewed != tt.renewed {
				t.Errorf("renewed: %t, want %t", renewed, tt.renewed)
			}
			if latest := limit(); tt.renewed && (after.Before(earliest) || after.After(latest)) {
				t.Errorf("extended to %v, want between %v and %v", after, earliest, latest)
			}
			b.get(s.URL + "/who")
			if again := expiry(); !again.Equal(after) {
				t.Error("the next request renewed again")
			}
		})
	}
}

// Parallel requests that find that a session needs a renewal write once.
func TestRaceParallelRequestsRenewOnce(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	s := newSite(t, session.Options{Pool: pool}, nil)
	user := newUser(t, pool)
	b := signIn(t, s, user)
	exec(t, pool, `CREATE TABLE cairn.renewals (n int)`)
	exec(t, pool, `
		CREATE FUNCTION cairn.renewed() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN INSERT INTO cairn.renewals VALUES (1); RETURN NEW; END $$`)
	for range testkit.Rounds(t) {
		exec(t, pool, `DROP TRIGGER IF EXISTS renewed ON cairn.sessions`)
		exec(t, pool, `UPDATE cairn.sessions SET expiry = now() + interval '1 day'`)
		exec(t, pool, `
			CREATE TRIGGER renewed AFTER UPDATE ON cairn.sessions
			FOR EACH ROW EXECUTE FUNCTION cairn.renewed()`)
		exec(t, pool, `DELETE FROM cairn.renewals`)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { b.get(s.URL + "/who") })
		}
		wg.Wait()
		if n := scalar[int](t, pool, `SELECT count(*)::int FROM cairn.renewals`); n != 1 {
			t.Fatalf("written %d times, want 1", n)
		}
	}
}

func TestFlashIsShownOnce(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	s := newSite(t, session.Options{Pool: pool}, handlers{
		"/flash": func(m *session.Manager, _ http.ResponseWriter, r *http.Request) { m.Flash(r.Context(), "hello") },
		"/welcome": func(m *session.Manager, _ http.ResponseWriter, r *http.Request) {
			current, _ := session.Current(r.Context())
			must(signInAs(r.Context(), m, current.UserID, true))
			m.Flash(r.Context(), "welcome")
		},
	})
	user := newUser(t, pool)
	b := signIn(t, s, user)
	for _, tt := range []struct{ path, want string }{{"/flash", "hello"}, {"/welcome", "welcome"}} {
		b.get(s.URL + tt.path)
		b.get(s.URL+"/who").want(t, 200, fmt.Sprint("true ", user, " ", tt.want))
		if again := b.get(s.URL + "/who"); again.body != fmt.Sprint("true ", user) {
			t.Errorf("the second page says %q", again.body)
		}
	}
	newBrowser(t, s).get(s.URL + "/flash") // a visitor's goes nowhere, and nothing breaks
}

// pgxstore reads our rows with its own statements, so a plain scs installation could take over the table.
func TestTableHasPgxstoresLayout(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	s := newSite(t, session.Options{Pool: pool}, nil)
	signIn(t, s, newUser(t, pool))
	stock := pgxstore.NewWithCleanupInterval(pool, 0)
	all, err := stock.All()
	if err != nil || len(all) != 1 {
		t.Fatalf("pgxstore lists %d sessions, error %v; want 1", len(all), err)
	}
	for token := range all {
		if data, found, err := stock.Find(token); err != nil || !found || len(data) == 0 {
			t.Errorf("pgxstore finds %t, %d bytes, error %v", found, len(data), err)
		}
		if err := stock.Delete(token); err != nil {
			t.Error(err)
		}
	}
	if n := scalar[int](t, pool, `SELECT count(*)::int FROM cairn.sessions`); n != 0 {
		t.Errorf("%d rows are left after pgxstore deleted the session", n)
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	s := newSite(t, session.Options{Pool: pool}, nil)
	user := newUser(t, pool)
	b := signIn(t, s, user)
	exec(t, pool, `INSERT INTO cairn.sessions (token, data, expiry, user_id, method)
		SELECT 'old' || n, '{}', now() - interval '1 hour', $1, 'password' FROM generate_series(1, 1700) n`, user)
	if more, err := s.Sweep(t.Context()); err != nil || !more {
		t.Fatalf("first batch: more %t, error %v", more, err)
	}
	if n := sessionsOf(t, pool, user); n != 1201 {
		t.Errorf("%d rows after one batch, want 1201", n)
	}
	other := session.New(session.Options{Pool: pool})
	var wg sync.WaitGroup
	for _, m := range []*session.Manager{s.Manager, other} {
		wg.Go(func() {
			for more, err := true, error(nil); more; {
				if more, err = m.Sweep(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := sessionsOf(t, pool, user); n != 1 {
		t.Errorf("%d rows are left, want the live one", n)
	}
	b.get(s.URL+"/who").want(t, 200, "true")
}

func TestLastSeen(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	s := newSite(t, session.Options{Pool: pool}, nil)
	user := newUser(t, pool)
	b := signIn(t, s, user)
	exec(t, pool, `UPDATE cairn.sessions SET last_seen = now() - interval '1 hour' WHERE user_id = $1`, user)
	b.get(s.URL + "/who")
	if err := s.SaveLastSeen(t.Context()); err != nil {
		t.Fatal(err)
	}
	age := scalar[float64](t, pool, `
		SELECT EXTRACT(epoch FROM now() - last_seen)::float8 FROM cairn.sessions WHERE user_id = $1`, user)
	if age > 60 {
		t.Errorf("last seen %.0f s ago, want just now", age)
	}
}

func TestShortLifetime(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	s := newSite(t, session.Options{Pool: pool, Lifetime: time.Hour, MaxLifetime: 2 * time.Hour}, nil)
	user := newUser(t, pool)
	b := signIn(t, s, user)
	exec(t, pool, `
		UPDATE cairn.sessions
		SET expiry = now() + interval '20 minutes', created = now() - interval '40 minutes'
		WHERE user_id = $1`, user)
	b.get(s.URL + "/who")
	left := scalar[float64](t, pool, `
		SELECT EXTRACT(epoch FROM expiry - now())::float8 FROM cairn.sessions WHERE user_id = $1`, user)
	if left < 3500 || left > 3600 {
		t.Errorf("the session has %.0f s left, want an hour", left)
	}
}

func TestTextFromHeadersFitsItsColumns(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	s := newSite(t, session.Options{Pool: pool}, nil)
	user := newUser(t, pool)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+fmt.Sprint("/signin/", user), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("User-Agent", "Browser \xff "+fmt.Sprintf("%02000d", 0))
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	got := scalar[string](t, pool, `
		SELECT user_agent || ' ' || address FROM cairn.sessions WHERE user_id = $1`, user)
	if len(got) < 500 {
		t.Errorf("got %q", got)
	}
}
