package session_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db/dbtest"
	"cairn/internal/session"
)

// why is a handler that says why the browser's session has ended.
func why(m *session.Manager, w http.ResponseWriter, r *http.Request) {
	ending, ok := m.Ended(r.Context())
	_, _ = fmt.Fprint(w, ok, " ", ending.Reason)
}

func idOf(t *testing.T, pool *pgxpool.Pool, user int64) int64 {
	t.Helper()
	return scalar[int64](t, pool, `SELECT max(id) FROM cairn.sessions WHERE user_id = $1`, user)
}

func TestEndedSessionSaysWhy(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	s := newSite(t, session.Options{Pool: pool}, handlers{"/why": why})
	other := session.New(session.Options{Pool: pool})
	sweep := func() {
		for more, err := true, error(nil); more; {
			if more, err = other.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := []struct {
		name string
		end  func(t *testing.T, b browser, user int64)
		want session.Reason
	}{
		{"expired", func(t *testing.T, _ browser, user int64) {
			exec(t, pool, `UPDATE cairn.sessions SET expiry = now() - interval '1 second' WHERE user_id = $1`, user)
		}, session.Expired},
		{"expired and swept", func(t *testing.T, _ browser, user int64) {
			exec(t, pool, `UPDATE cairn.sessions SET expiry = now() - interval '1 second' WHERE user_id = $1`, user)
			sweep()
		}, session.Expired},
		{"too old", func(t *testing.T, _ browser, user int64) {
			exec(t, pool, `UPDATE cairn.sessions SET created = now() - interval '366 days' WHERE user_id = $1`, user)
		}, session.Limit},
		{"too old and swept", func(t *testing.T, _ browser, user int64) {
			exec(t, pool, `
				UPDATE cairn.sessions SET created = now() - interval '366 days', expiry = now() - interval '1 day'
				WHERE user_id = $1`, user)
			sweep()
		}, session.Limit},
		{"ended from elsewhere", func(t *testing.T, _ browser, user int64) {
			if err := other.End(t.Context(), user, idOf(t, pool, user)); err != nil {
				t.Fatal(err)
			}
		}, session.EndedElsewhere},
		{"with all others", func(t *testing.T, _ browser, user int64) {
			if n, err := other.EndOthers(t.Context(), pool, user, 0, session.PasswordChanged); err != nil || n != 1 {
				t.Fatalf("ended %d, error %v", n, err)
			}
		}, session.PasswordChanged},
		{"rotated away", func(t *testing.T, b browser, _ int64) {
			b.copied(s).get(s.URL + "/rotate")
		}, session.Replaced},
		{"signed in again", func(t *testing.T, b browser, user int64) {
			b.copied(s).get(s.URL + fmt.Sprint("/signin/", user))
		}, session.Replaced},
		{"signed out in another tab", func(t *testing.T, b browser, _ int64) {
			b.copied(s).get(s.URL + "/out")
		}, session.SignedOut},
		{"by the operator", func(t *testing.T, _ browser, _ int64) {
			if _, err := other.EndAll(t.Context(), other.Pool); err != nil {
				t.Fatal(err)
			}
		}, session.ByOperator},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			user := newUser(t, pool)
			b := signIn(t, s, user)
			b.get(s.URL+"/why").want(t, 200, "false")
			tt.end(t, b, user)
			a := b.get(s.URL+"/why").want(t, 200, "true "+string(tt.want))
			b.get(s.URL+"/who").want(t, 200, "false")
			if tt.want == session.Replaced {
				if a.cookie != nil {
					t.Errorf("the response set %v: "+
						"the new token, which another tab may have got meanwhile, would be lost", a.cookie)
				}
				return
			}
			if a.cookie == nil || a.cookie.MaxAge >= 0 {
				t.Errorf("the stale cookie stays: the response set %v", a.cookie)
			}
			b.get(s.URL+"/why").want(t, 200, "false")
		})
	}
	newBrowser(t, s).get(s.URL+"/why").want(t, 200, "false")
}

func TestOldEndingsAreSwept(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	s := newSite(t, session.Options{Pool: pool}, handlers{"/why": why})
	user := newUser(t, pool)
	old, fresh := signIn(t, s, user), signIn(t, s, user)
	if _, err := s.EndOthers(t.Context(), pool, user, 0, session.EndedElsewhere); err != nil {
		t.Fatal(err)
	}
	exec(t, pool, `
		UPDATE cairn.ended_sessions SET ended_at = now() - interval '31 days'
		WHERE token = (SELECT min(token) FROM cairn.ended_sessions)`)
	if more, err := s.SweepEndings(t.Context()); more || err != nil {
		t.Fatalf("more %t, error %v", more, err)
	}
	if n := scalar[int](t, pool, `SELECT count(*)::int FROM cairn.ended_sessions`); n != 1 {
		t.Errorf("%d endings are left, want the fresh one", n)
	}
	for _, b := range []browser{old, fresh} {
		b.get(s.URL+"/who").want(t, 200, "false")
	}
}

func TestListAndEnd(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	s := newSite(t, session.Options{Pool: pool}, nil)
	ada, moss := newUser(t, pool), newUser(t, pool)
	phone, laptop, gone, stranger := signIn(t, s, ada), signIn(t, s, ada), signIn(t, s, ada), signIn(t, s, moss)
	gone.get(s.URL + "/out")
	signIn(t, s, ada)
	exec(t, pool, `UPDATE cairn.sessions SET expiry = now() - interval '1 second' WHERE id = $1`, idOf(t, pool, ada))
	list, err := s.List(t.Context(), ada)
	if err != nil || len(list) != 2 {
		t.Fatalf("%d sessions (error %v), want the 2 that live", len(list), err)
	}
	if list[0].Address != "192.0.2.1" || list[0].Method != "password" || list[0].UserAgent == "" ||
		!list[0].Persistent || list[0].Created.IsZero() {
		t.Errorf("got %+v", list[0])
	}
	ids := []int64{list[0].ID, list[1].ID}
	slices.Sort(ids)
	for _, wrong := range []struct{ user, id int64 }{{moss, ids[0]}, {ada, 0}, {ada, idOf(t, pool, moss)}} {
		if err := s.End(t.Context(), wrong.user, wrong.id); !errors.Is(err, session.ErrNoSession) {
			t.Errorf("user %d ends session %d: %v, want ErrNoSession", wrong.user, wrong.id, err)
		}
	}
	if err := s.End(t.Context(), ada, ids[0]); err != nil {
		t.Fatal(err)
	}
	phone.get(s.URL+"/who").want(t, 200, "false")
	laptop.get(s.URL+"/who").want(t, 200, "true")
	stranger.get(s.URL+"/who").want(t, 200, "true")
}

// A non-persistent session lasts 12 hours and is not extended. Its cookie ends with the browser.
func TestNonPersistentSession(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	s := newSite(t, session.Options{Pool: pool}, nil)
	user := newUser(t, pool)
	b := newBrowser(t, s)
	c := b.get(s.URL + fmt.Sprintf("/signin/%d?non-persistent", user)).cookie
	if c == nil || c.MaxAge != 0 || !c.Expires.IsZero() {
		t.Fatalf("got cookie %+v, want one that ends with the browser", c)
	}
	hours := scalar[float64](t, pool, `SELECT EXTRACT(epoch FROM expiry - now())::float8 / 3600 FROM cairn.sessions`)
	if hours < 11.9 || hours > 12 {
		t.Errorf("it lasts %.1f hours, want 12", hours)
	}
	exec(t, pool, `UPDATE cairn.sessions SET expiry = now() + interval '1 minute'`)
	if a := b.get(s.URL+"/who").want(t, 200, "true"); a.cookie != nil {
		t.Errorf("it was extended: %v", a.cookie)
	}
	if c := b.get(s.URL + "/rotate").cookie; c == nil || c.MaxAge != 0 {
		t.Errorf("after a rotation the cookie is %+v, want one that ends with the browser", c)
	}
	b.get(s.URL+"/who").want(t, 200, "true")
}

// The previous version knows neither persistent sessions nor endings. Both versions run during a deploy.
func TestSessionsOfThePreviousVersion(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	s := newSite(t, session.Options{Pool: pool}, handlers{"/why": why})
	user := newUser(t, pool)
	b := signIn(t, s, user)
	exec(t, pool, `UPDATE cairn.sessions SET kept = DEFAULT, data = '{"flash":"from then","something new":{"a":[1]}}'`)
	b.get(s.URL+"/who").want(t, 200, fmt.Sprint("true ", user, " from then"))
	exec(t, pool, `DELETE FROM cairn.sessions`)
	b.get(s.URL+"/why").want(t, 200, "false")
}
