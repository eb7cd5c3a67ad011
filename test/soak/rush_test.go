package soak

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cairn/internal/sandbox"
	"cairn/internal/testkit/process"
)

// Many requests need the same expired token at once, on three servers with four connections to the database each. The
// provider is slow, and accepts a refresh token only once. It is asked once, and every request is served.

// rush is a person with a connection whose token many requests need.
type rush struct {
	*fleet
	t        *testing.T
	front    *front
	provider string
	v        *visitor
}

// newRushes signs up a person for each provider whose refresh tokens rotate, and connects them.
func newRushes(t *testing.T, env ...string) (rushes []rush) {
	t.Helper()
	way := &front{}
	f := newFleetBehind(t, 3, way, env...)
	for _, provider := range []string{sandbox.Strava, sandbox.Garmin} {
		v := newVisitor(newSite(f.url, true))
		r := rush{f, t, way, provider, v}
		r.must(v.signUp(t.Context()))
		r.must(v.connect(t.Context(), provider, "ada", 0))
		rushes = append(rushes, r)
	}
	f.awaitSyncs()
	return rushes
}

func (r rush) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("%s: %v", r.provider, err)
	}
}

// expire makes the access token expire. The next refresh takes as long as the legs.
func (r rush) expire(there, back leg) *trip {
	r.t.Helper()
	r.must(r.sandbox.ExpireTokens(r.t.Context(), r.provider))
	_, err := r.pool.Exec(r.t.Context(), expireOurs, r.provider)
	r.must(err)
	return r.front.next(r.provider, "refresh_token", there, back)
}

// check uses the connection many times at once, and returns when all requests are answered. They share a browser, so
// one may read the notice of another. The provider's count shows whether each was served.
func (r rush) check(many int) {
	r.t.Helper()
	before := r.used()
	var wg sync.WaitGroup
	for range many {
		wg.Go(func() {
			page, err := r.v.member(r.t.Context(), r.url+"/connections/"+r.provider+"/check", url.Values{})
			if err != nil || !page.connected(r.provider) {
				r.t.Errorf("%s is not connected any more: %d at %s, error %v, %s",
					r.provider, page.status, page.url, err, r.history())
			}
		})
	}
	wg.Wait()
	if served := r.used() - before; served < many {
		r.t.Errorf("%d of %d were served", served, many)
	}
}

// history returns the states of the connection, with their causes and the provider's status.
func (r rush) history() (history string) {
	err := r.pool.QueryRow(r.t.Context(), `
		SELECT string_agg(concat_ws(' ', at, state, cause, status), ', ' ORDER BY id)
		FROM cairn.connection_events WHERE provider = $1`, r.provider).Scan(&history)
	if err != nil {
		return err.Error()
	}
	return history
}

// used returns how often the provider was asked whose account it is.
func (r rush) used() int {
	r.t.Helper()
	requests, err := r.sandbox.Requests(r.t.Context(), r.provider)
	r.must(err)
	return requests[sandbox.UserInfo]
}

func (r rush) wantOneRefresh(trip *trip) {
	r.t.Helper()
	if len(trip.over) != 1 {
		r.t.Errorf("%s was asked to refresh %d times", r.provider, len(trip.over))
	}
}

func TestRushForAnExpiredToken(t *testing.T) {
	t.Parallel()
	for _, r := range newRushes(t) {
		t.Run(r.provider, func(t *testing.T) {
			t.Parallel()
			r.t = t
			for _, lasts := range []time.Duration{100 * time.Millisecond, time.Second, 0} {
				mayAnswer, back := make(chan struct{}), takes(lasts)
				if lasts == 0 {
					back = until(mayAnswer)
				}
				trip := r.expire(nil, back)
				served := make(chan struct{})
				go func() { defer close(served); r.check(50) }()
				select {
				case <-trip.came:
				case <-served:
					if len(trip.came) == 0 {
						t.Fatal("all requests were answered, but no refresh came")
					}
				}
				slowest := r.readPages(10)
				close(mayAnswer)
				<-trip.sent
				refreshed := time.Now()
				<-served
				t.Logf("50 requests for an expired token of %s: all served %s after the refresh, other pages in %s",
					r.provider, milliseconds(time.Since(refreshed)), milliseconds(slowest))
				r.wantOneRefresh(trip)
			}
		})
	}
}

// readPages reads the home page n times, which does not need the provider, and returns the longest time.
func (r rush) readPages(n int) (slowest time.Duration) {
	r.t.Helper()
	for range n {
		began := time.Now()
		if _, err := r.v.member(r.t.Context(), r.url+"/", nil); err != nil {
			r.t.Error(err)
		}
		slowest = max(slowest, time.Since(began))
	}
	return slowest
}

// The browser for which the token is refreshed leaves. The others are served, and that does not count as a failure of
// the provider.
func TestRushWhoseFirstLeaves(t *testing.T) {
	t.Parallel()
	for _, r := range newRushes(t) {
		othersCame, left := make(chan struct{}), make(chan struct{})
		trip := r.expire(until(othersCame), until(left))
		ctx, leave := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() { gone <- r.v.check(ctx, r.provider) }()
		<-trip.came
		var others sync.WaitGroup
		others.Go(func() { r.check(49) })
		close(othersCame)
		<-trip.done
		leave()
		if err := <-gone; err == nil {
			t.Error("the first browser had its answer before it left")
		}
		close(left)
		others.Wait()
		r.wantOneRefresh(trip)
	}
}

// The server that refreshes the token dies, before the provider was asked or after it has answered. Requests don't wait
// until the dead server's lease ends: people are asked to try again. Then the connection works, or they have to connect
// again.
func TestRushWhoseFirstDies(t *testing.T) {
	t.Parallel()
	l := process.Patient()
	// Other requests wait for a call and a statement, and a lease lasts for two calls.
	l.Calls.Call, l.Calls.Statement = 8*time.Second, time.Second
	rushes := newRushes(t, l.Variable())
	strava, garmin := rushes[0], rushes[1]
	never := make(chan struct{})
	lost, spent := strava.expire(until(never), nil), garmin.expire(nil, until(never))
	for _, r := range rushes {
		go func() { _ = r.v.at(r.fleet, 0).check(context.WithoutCancel(t.Context()), r.provider) }()
	}
	<-lost.came
	<-spent.done
	began := time.Now()
	strava.instances[0].End(syscall.SIGKILL)
	<-lost.over // this request never reached the provider
	<-spent.over
	strava.expire(nil, nil)
	garmin.expire(nil, nil)
	var waiting sync.WaitGroup
	for _, r := range rushes {
		for i := range 20 {
			waiting.Go(func() { r.wantTryAgain(1+i%2, began) })
		}
	}
	waiting.Wait()
	for r, want := range map[rush]string{strava: "the connection works", garmin: "disconnected Cairn"} {
		page, err := r.v.open(t.Context(), r.url+"/connections/"+r.provider+"/check", url.Values{})
		r.must(err)
		if !strings.Contains(page.body, want) {
			t.Errorf("%s does not say %q", r.provider, want)
		}
		t.Logf("%s: %q, %v after the kill", r.provider, want, time.Since(began).Round(100*time.Millisecond))
	}
	garmin.must(garmin.v.connect(t.Context(), garmin.provider, "ada", 0))
	garmin.must(garmin.v.check(t.Context(), garmin.provider))
}

// wantTryAgain uses the connection on a server that waits for the dead one, and expects the page that says to try
// again.
func (r rush) wantTryAgain(instance int, killed time.Time) {
	r.t.Helper()
	began := time.Now()
	page, _ := r.v.at(r.fleet, instance).open(r.t.Context(), r.url+"/connections/"+r.provider+"/check", url.Values{})
	if page.status != http.StatusGatewayTimeout || !strings.Contains(page.body, "Please try again in a minute.") {
		r.t.Errorf("%s answers %d after %v, %v after the kill",
			r.provider, page.status, time.Since(began), time.Since(killed))
	}
	var held bool
	err := r.pool.QueryRow(r.t.Context(),
		`SELECT refresh_lease_until > now() FROM cairn.connections WHERE provider = $1`, r.provider).Scan(&held)
	if err != nil || !held {
		r.t.Errorf("the lease had ended when the answer came after %v, error %v", time.Since(began), err)
	}
}
