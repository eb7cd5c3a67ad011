package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db/dbtest"
	"cairn/internal/session"
	"cairn/internal/testkit"
)

// fleet is two instances on one database, whose handlers read, write and end sessions.
func fleet(t *testing.T) (pool *pgxpool.Pool, sites [2]site) {
	t.Helper()
	pool = dbtest.New(t)
	other, err := pgxpool.NewWithConfig(t.Context(), pool.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	for i, p := range []*pgxpool.Pool{pool, other} {
		sites[i] = newSite(t, session.Options{Pool: p}, handlers{
			"/write": func(m *session.Manager, w http.ResponseWriter, r *http.Request) {
				m.Flash(r.Context(), "x")
				current, ok := session.Current(r.Context())
				_, _ = fmt.Fprint(w, ok, " ", current.UserID)
			},
			"/end": func(m *session.Manager, _ http.ResponseWriter, r *http.Request) {
				current, _ := session.Current(r.Context())
				must(m.End(r.Context(), current.UserID, number(r, "id")))
			},
			"/others": func(m *session.Manager, _ http.ResponseWriter, r *http.Request) {
				current, _ := session.Current(r.Context())
				_, err := m.EndOthers(r.Context(), p, current.UserID, current.ID, session.EndedElsewhere)
				must(err)
			},
			"/password": func(m *session.Manager, _ http.ResponseWriter, r *http.Request) {
				nothing := func(context.Context, pgx.Tx) (string, error) { return "", nil }
				err := m.ChangeAccess(r.Context(), session.PasswordChanged, nothing)
				if !errors.Is(err, session.ErrEnded) {
					must(err)
				}
			},
		})
	}
	return pool, sites
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func number(r *http.Request, name string) (n int64) {
	_, _ = fmt.Sscan(r.URL.Query().Get(name), &n)
	return n
}

// Requests of one browser overlap with the end of its session. After the response to that, no instance serves the old
// token as that user, its row does not come back, and no response has a cookie.
func TestRaceNothingBringsAnEndedSessionBack(t *testing.T) {
	t.Parallel()
	pool, sites := fleet(t)
	// Each ends the session of b and returns the browser whose session of the user is left, if any.
	tests := map[string]func(t *testing.T, s site, b browser, user int64) (survivor *browser){
		"sign-out": func(_ *testing.T, s site, b browser, _ int64) *browser { b.get(s.URL + "/out"); return nil },
		"end one": func(t *testing.T, s site, _ browser, user int64) *browser {
			id := idOf(t, pool, user)
			from := signIn(t, s, user)
			from.get(s.URL+fmt.Sprint("/end?id=", id)).want(t, 200, "")
			return &from
		},
		"end others": func(t *testing.T, s site, _ browser, user int64) *browser {
			from := signIn(t, s, user)
			from.get(s.URL+"/others").want(t, 200, "")
			return &from
		},
		"password change": func(t *testing.T, s site, b browser, _ int64) *browser {
			b.get(s.URL+"/password").want(t, 200, "")
			return &b
		},
		"sign-in again": func(t *testing.T, s site, b browser, user int64) *browser {
			b.get(s.URL+fmt.Sprint("/signin/", user)).want(t, 200, "")
			return &b
		},
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range testkit.Rounds(t) {
				user := newUser(t, pool)
				b := signIn(t, sites[0], user)
				var old [2]browser // the same cookie, at each instance
				for i, s := range sites {
					old[i] = b.copied(s)
				}
				ctx, stop := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				for i := range 4 {
					path := []string{"/write", "/who"}[i/2]
					wg.Go(func() {
						for ctx.Err() == nil {
							if a := old[i%2].get(sites[i%2].URL + path); a.cookie != nil {
								t.Errorf("a request of the old session got the cookie %v", a.cookie)
							}
						}
					})
				}
				survivor := end(t, sites[user%2], b, user)
				for i, s := range sites {
					for _, path := range []string{"/who", "/write"} {
						if a := old[i].get(s.URL + path); a.status == 200 && a.body[:4] == "true" {
							t.Fatalf("after the session ended, %s says %q", path, a.body)
						}
					}
				}
				stop()
				wg.Wait()
				want := 0
				if survivor != nil {
					want = 1
					survivor.get(sites[1-user%2].URL+"/who").want(t, 200, fmt.Sprint("true ", user))
				}
				if n := sessionsOf(t, pool, user); n != want {
					t.Fatalf("%d sessions, want %d", n, want)
				}
			}
		})
	}
}

// Two tabs of one browser sign in and out. The cookie that is left works, or there is none.
func TestRaceTwoTabs(t *testing.T) {
	t.Parallel()
	pool, sites := fleet(t)
	for range testkit.Rounds(t) {
		user := newUser(t, pool)
		b := signIn(t, sites[0], user)
		before := b.copied(sites[0])
		var wg sync.WaitGroup
		for i, path := range []string{"/out", fmt.Sprint("/signin/", user), "/write", "/who"} {
			wg.Go(func() { b.get(sites[i%2].URL + path) })
		}
		wg.Wait()
		for _, s := range sites {
			before.get(s.URL+"/who").want(t, 200, "false")
		}
		cookies := b.Jar.Cookies(mustURL(t, sites[0].URL))
		if a := b.get(sites[0].URL + "/who"); len(cookies) > 0 && a.body[:4] != "true" {
			t.Fatalf("the browser is left with a stale cookie: %q", a.body)
		}
	}
}

// Parallel requests of one browser never sign it out, with or without a renewal.
func TestRaceParallelRequestsOfOneBrowser(t *testing.T) {
	t.Parallel()
	pool, sites := fleet(t)
	for round := range testkit.Rounds(t) {
		user := newUser(t, pool)
		b := signIn(t, sites[0], user)
		if round%2 == 0 { // a renewal
			exec(t, pool, `UPDATE cairn.sessions SET expiry = now() + interval '1 day' WHERE user_id = $1`, user)
		}
		var wg sync.WaitGroup
		for i, path := range []string{"/write", "/who", "/password", "/write", "/who", "/write"} {
			wg.Go(func() { b.get(sites[i%2].URL + path) })
		}
		wg.Wait()
		b.get(sites[1].URL+"/who").want(t, 200, fmt.Sprint("true ", user))
		if n := sessionsOf(t, pool, user); n != 1 {
			t.Fatalf("%d sessions, want 1", n)
		}
	}
}
