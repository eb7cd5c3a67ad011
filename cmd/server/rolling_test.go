package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A deploy that nobody notices: three instances are replaced one by one, again and again, while people read, sign up,
// sign in and connect.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	rounds := deployRounds(t, "DEPLOY_ROUNDS", 2)
	f := newFleet(t, 3, "SHUTDOWN_DELAY=1s")
	crowd := newCrowd(t, f.url)
	for range rounds {
		for i := range f.instances {
			old := f.instances[i].process
			crowd.replaced.Add(1)
			if code := f.replace(i, syscall.SIGTERM); code != 0 {
				t.Errorf("exit code %d, want 0:\n%s", code, old.logged())
			}
		}
	}
	crowd.leave()
	seen := crowd.figures
	t.Logf("%d rounds of %d instances: %v, %d sign-outs", rounds, len(f.instances), seen, crowd.signedOut)
	if len(seen.failures) > 0 || len(seen.broken) > 0 {
		t.Errorf("%d requests failed:\n%s\nbroken:\n%s", len(seen.failures), some(seen.failures), some(seen.broken))
	}
	for _, what := range []string{"pages", "sign-ups", "sign-ins", "connects", "of them while an instance was replaced"} {
		if seen.done[what] < rounds {
			t.Errorf("only %d %s in %d rounds: the test proves little", seen.done[what], what, rounds)
		}
	}
}

// crowd is people who use a site until they are asked to leave.
type crowd struct {
	t         *testing.T
	site      string
	figures   *figures
	leaving   chan struct{}
	gone      sync.WaitGroup
	mu        sync.Mutex
	signedOut int
	replaced  atomic.Int64 // how many instances have been told to stop
}

// newCrowd lets people in, each with what they do.
func newCrowd(t *testing.T, site string) *crowd {
	t.Helper()
	c := &crowd{t: t, site: site, figures: newFigures(), leaving: make(chan struct{})}
	for range 4 {
		c.stay(c.reads)
	}
	for range 2 {
		c.stay(c.comesAndGoes)
	}
	for _, person := range []string{"ada", "zofie", "moss", "max"} { // an account there belongs to one person here
		c.stay(func(ctx context.Context, v *visitor) { c.connects(ctx, v, person) })
	}
	t.Cleanup(c.leave)
	return c
}

// stay signs somebody up, and lets them do it over and over.
func (c *crowd) stay(do func(context.Context, *visitor)) {
	c.t.Helper()
	v := newVisitor(c.site, c.figures)
	if err := v.signUp(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	c.gone.Go(func() {
		for !c.isLeaving() {
			do(context.Background(), v)
			time.Sleep(rand.N(40 * time.Millisecond)) // people look at what they see
		}
	})
}

func (c *crowd) isLeaving() bool {
	select {
	case <-c.leaving:
		return true
	default:
		return false
	}
}

// leave waits until everybody has finished what they were doing.
func (c *crowd) leave() {
	if !c.isLeaving() {
		close(c.leaving)
	}
	c.gone.Wait()
}

func (c *crowd) did(what string, err error) {
	if errors.Is(err, errSignedOut) {
		c.mu.Lock()
		c.signedOut++
		c.mu.Unlock()
	}
	c.figures.did(what, err)
}

func (c *crowd) reads(ctx context.Context, v *visitor) {
	for _, path := range []string{"/", "/account"} {
		_, err := v.member(ctx, v.site+path, url.Values(nil))
		c.did("pages", err)
	}
	c.did("pages", v.me(ctx))
}

func (c *crowd) comesAndGoes(ctx context.Context, _ *visitor) {
	v := newVisitor(c.site, c.figures)
	c.did("sign-ups", v.signUp(ctx))
	c.did("pages", v.me(ctx))
	c.did("own sign-outs", v.signOut(ctx))
	c.did("sign-ins", v.signIn(ctx))
	c.did("pages", v.me(ctx))
}

// connects is on the way through a provider most of the time, so that servers end in the middle of it.
func (c *crowd) connects(ctx context.Context, v *visitor, person string) {
	for _, p := range known {
		before := c.replaced.Load()
		err := v.connect(ctx, p.key, person, rand.N(time.Second))
		c.did("connects", err)
		if c.replaced.Load() > before {
			c.did("of them while an instance was replaced", err)
		}
		c.did("checks", v.check(ctx, p.key))
		c.did("disconnects", v.disconnect(ctx, p.key))
	}
}
