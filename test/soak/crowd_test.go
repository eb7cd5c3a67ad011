package soak

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cairn/internal/config"
	"cairn/internal/testkit"
)

// crowd is a number of people who use a site until they are asked to leave.
type crowd struct {
	t *testing.T
	site
	leaving   chan struct{}
	gone      sync.WaitGroup
	signedOut atomic.Int64
	replaced  atomic.Int64 // how many servers were asked to stop
}

func newCrowd(t *testing.T, at site) *crowd {
	c := &crowd{t: t, site: at, leaving: make(chan struct{})}
	t.Cleanup(c.leave)
	return c
}

// letIn adds people who together do everything that people can do.
func (c *crowd) letIn() {
	c.t.Helper()
	for range 4 {
		c.stay(c.reads)
	}
	for range 2 {
		c.stay(c.comesAndGoes)
	}
	for _, person := range []string{"ada", "zofie", "moss", "max"} { // each may belong to one account only
		c.stay(func(ctx context.Context, v *visitor) { c.connects(ctx, v, person) })
	}
}

// stay signs a person up, and repeats do as that person.
func (c *crowd) stay(do func(context.Context, *visitor)) {
	c.t.Helper()
	v := newVisitor(c.site)
	if err := v.signUp(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	c.gone.Go(func() {
		for !c.isLeaving() {
			do(context.Background(), v)
			testkit.AtRandom(pace(40 * time.Millisecond))
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

// leave asks all to leave, and waits until they have finished what they were doing.
func (c *crowd) leave() {
	if !c.isLeaving() {
		close(c.leaving)
	}
	c.gone.Wait()
}

func (c *crowd) did(what string, err error) {
	if errors.Is(err, errSignedOut) {
		c.signedOut.Add(1)
	}
	c.figures.did(what, err)
}

// wantNothingNoticed checks that people could do everything, and prints a row of figures. Each of these things has to
// have been done at least least times.
func (c *crowd) wantNothingNoticed(what string, least int, things ...string) {
	c.t.Helper()
	c.leave()
	seen := c.figures
	seen.row(c.t, testkit.Cell("%s, %d replacements", what, c.replaced.Load()), testkit.Cell("%d", len(seen.failures)),
		testkit.Cell("%d", c.signedOut.Load()), seen.connects())
	if len(seen.failures) > 0 || len(seen.broken) > 0 {
		c.t.Errorf("%d requests failed:\n%s\nbroken:\n%s", len(seen.failures), some(seen.failures), some(seen.broken))
	}
	for _, thing := range things {
		if seen.done[thing] < least {
			c.t.Errorf("only %d %s, want at least %d", seen.done[thing], thing, least)
		}
	}
}

// duringReplacement counts connects during which a server was replaced.
const duringReplacement = "connects during a replacement"

func (c *crowd) reads(ctx context.Context, v *visitor) {
	for _, path := range []string{"/", "/account"} {
		_, err := v.member(ctx, c.url+path, url.Values(nil))
		c.did("pages", err)
	}
	c.did("pages", v.me(ctx))
}

func (c *crowd) comesAndGoes(ctx context.Context, _ *visitor) {
	v := newVisitor(c.site)
	c.did("sign-ups", v.signUp(ctx))
	c.did("pages", v.me(ctx))
	c.did("own sign-outs", v.signOut(ctx))
	c.did("sign-ins", v.signIn(ctx))
	c.did("pages", v.me(ctx))
}

// connects spends most of its time on the way through a provider, so that servers end in the middle of it.
func (c *crowd) connects(ctx context.Context, v *visitor, person string) {
	for _, p := range config.Providers() {
		before := c.replaced.Load()
		err := v.connect(ctx, p.Key, person, time.Second)
		c.did("connects", err)
		if c.replaced.Load() > before {
			c.did(duringReplacement, err)
		}
		c.did("checks", v.check(ctx, p.Key))
		c.did("disconnects", v.disconnect(ctx, p.Key))
	}
}
