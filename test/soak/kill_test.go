package soak

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"cairn/internal/config"
	"cairn/internal/testkit"
)

// Servers are killed at random while people sign up, sign in and connect. Everyone who got a cookie stays signed in, no
// account exists twice, nothing is left half done, and a request that was lost works when it is sent again.
func TestKillAtRandom(t *testing.T) {
	t.Parallel()
	kills := deployRounds(t, "DEPLOY_KILLS", 5)
	f := newFleet(t, 3, mortal().Variable())
	s := &survivors{crowd: newCrowd(t, newSite(f.url, true))}
	for range 3 {
		s.stay(s.arrives)
	}
	for _, person := range []string{"ada", "zofie", "moss", "max"} {
		s.stay(func(ctx context.Context, v *visitor) { s.connects(ctx, v, person) })
	}
	const staying = 7
	for range kills {
		testkit.AtRandom(150 * time.Millisecond)
		s.replaced.Add(1)
		f.replace(rand.IntN(len(f.instances)), syscall.SIGKILL)
	}
	s.wantNothingLost(f, staying)
}

// survivors are people who try again when a request is lost with its server.
type survivors struct {
	*crowd
	mu      sync.Mutex
	people  int        // how many arrived, besides those who stay
	holding []*visitor // browsers with a session that they never ended
	lost    int        // how many answers were lost
}

// until repeats do until it is answered.
func (s *survivors) until(what string, do func() error) error {
	for tries := 0; ; tries++ {
		err := do()
		if !errors.Is(err, errLost) || tries == 1000 {
			s.did(what, err)
			return err
		}
		s.mu.Lock()
		s.lost++
		s.mu.Unlock()
	}
}

// arrives signs up a new person, who then signs in at another browser. From the moment a cookie arrives its browser has
// to be signed in, even if the rest of the answer is lost, so a person with a cookie does not sign in again.
func (s *survivors) arrives(ctx context.Context, _ *visitor) {
	home := newVisitor(s.site)
	s.mu.Lock()
	s.people++
	s.mu.Unlock()
	tried := false
	_ = s.until("sign-ups", func() error {
		if home.signedIn() {
			return home.me(ctx)
		}
		err := home.signUp(ctx)
		if tried && errors.Is(err, errTaken) {
			return nil // the sign-up worked, and its answer was lost
		}
		tried = true
		return err
	})
	for _, browser := range []*visitor{home, home.elsewhere()} {
		if err := s.until("sign-ins", func() error { return s.enters(ctx, browser) }); err == nil {
			s.hold(browser)
		}
	}
	earlier := s.holder()
	_ = s.until("pages", func() error { return earlier.me(ctx) })
}

func (s *survivors) enters(ctx context.Context, v *visitor) error {
	if v.signedIn() {
		return v.me(ctx)
	}
	return v.signIn(ctx)
}

func (s *survivors) hold(v *visitor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holding = append(s.holding, v)
}

func (s *survivors) holder() *visitor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.holding[rand.IntN(len(s.holding))]
}

// connects tries until it works. An attempt whose answer is lost leaves a connection that works, or none.
func (s *survivors) connects(ctx context.Context, v *visitor, person string) {
	for _, p := range config.Providers() {
		_ = s.until("connects", func() error {
			err := v.connect(ctx, p.Key, person, 100*time.Millisecond)
			if errors.Is(err, errLost) {
				_ = s.until("looks after a lost answer", func() error { return s.worksOrNot(ctx, v, p.Key) })
			}
			return err
		})
		_ = s.until("checks", func() error { return v.check(ctx, p.Key) })
		_ = s.until("disconnects", func() error {
			home, err := v.member(ctx, v.url+"/connections", nil)
			if err != nil || !home.connected(p.Key) {
				return err // the disconnect worked, and its answer was lost
			}
			return v.disconnect(ctx, p.Key)
		})
	}
}

func (s *survivors) worksOrNot(ctx context.Context, v *visitor, provider string) error {
	home, err := v.member(ctx, v.url+"/connections", nil)
	if err != nil || !home.connected(provider) {
		return err
	}
	return v.check(ctx, provider)
}

// wantNothingLost checks every browser and the rows in the database after the last kill.
func (s *survivors) wantNothingLost(f *fleet, staying int) {
	s.t.Helper()
	s.leave()
	for _, v := range s.holding {
		s.did("sessions that outlived it all", v.me(s.t.Context()))
	}
	s.figures.row(s.t, testkit.Cell("%d SIGKILLs at random", s.replaced.Load()),
		testkit.Cell("%d without an answer, sent again", s.lost),
		testkit.Cell("%d of %d browsers", s.signedOut.Load(), len(s.holding)+staying),
		s.figures.connects())
	if len(s.figures.broken) > 0 {
		s.t.Errorf("broken:\n%s", some(s.figures.broken))
	}
	sessions := s.rows(f, `SELECT count(*) FROM cairn.sessions`)
	browsers := len(s.holding) + staying
	if sessions < browsers || sessions > browsers+s.lost {
		s.t.Errorf("%d sessions for %d browsers and %d lost answers", sessions, browsers, s.lost)
	}
	if users := s.rows(f, `SELECT count(*) FROM cairn.users`); users != s.people+staying {
		s.t.Errorf("%d accounts of %d people", users, s.people+staying)
	}
	for what, sql := range map[string]string{
		"people who exist twice": `SELECT count(*) - count(DISTINCT display_name) FROM cairn.users`,
		"accounts without a sign-in method": `SELECT count(*) FROM cairn.users u
			WHERE NOT EXISTS (SELECT FROM cairn.passwords p WHERE p.user_id = u.id)
			AND NOT EXISTS (SELECT FROM cairn.identities i WHERE i.user_id = u.id)`,
		"surplus identities": `
			SELECT count(*) - count(DISTINCT (user_id, provider)) FROM cairn.identities`,
		"connections in trouble":     `SELECT count(*) FROM cairn.connections WHERE state <> 'active'`,
		"sessions that no one ended": `SELECT count(*) FROM cairn.ended_sessions`,
	} {
		if n := s.rows(f, sql); n != 0 {
			s.t.Errorf("%d %s", n, what)
		}
	}
}

func (s *survivors) rows(f *fleet, sql string) (n int) {
	s.t.Helper()
	if err := f.pool.QueryRow(s.t.Context(), sql).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}
