package connection_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/sandbox"
)

// asked is how many calls of a kind a provider has had.
func (r rig) asked(provider, call string) int {
	r.t.Helper()
	counts, err := r.sandbox.Requests(r.t.Context(), provider)
	if err != nil {
		r.t.Fatal(err)
	}
	return counts[call]
}

// learn makes a call: Strava's answer says how many are allowed.
func (r rig) learn(owner oauth.Owner) {
	r.t.Helper()
	if err := r.Check(r.t.Context(), r.providers[sandbox.Strava], owner.UserID); err != nil {
		r.t.Fatal(err)
	}
}

// inOneQuarter runs a part of a test again if a quarter hour ended meanwhile. What fails in it counts only if none did.
func (r rig) inOneQuarter(part func(t testing.TB, r rig)) {
	r.t.Helper()
	for {
		began, try := r.quarter(), &attempt{TB: r.t}
		within := r
		within.t = try
		done := make(chan struct{})
		go func() { defer close(done); part(try, within) }()
		<-done
		if r.quarter().Equal(began) {
			try.report()
			return
		}
	}
}

// attempt collects failures, which report reports.
type attempt struct {
	testing.TB
	mu     sync.Mutex
	failed []string
}

func (a *attempt) Errorf(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed = append(a.failed, fmt.Sprintf(format, args...))
}

func (a *attempt) Error(args ...any) { a.Errorf("%s", fmt.Sprint(args...)) }

func (a *attempt) Fatalf(format string, args ...any) { a.Errorf(format, args...); runtime.Goexit() }

func (a *attempt) Fatal(args ...any) { a.Fatalf("%s", fmt.Sprint(args...)) }

func (a *attempt) report() {
	a.TB.Helper()
	for _, failure := range a.failed {
		a.TB.Error(failure)
	}
	if len(a.failed) > 0 {
		a.TB.FailNow()
	}
}

// quarter is when this quarter hour began, by the database's clock.
func (r rig) quarter() (began time.Time) {
	r.t.Helper()
	if err := r.pool.QueryRow(r.t.Context(), `SELECT date_bin('15 minutes', now(), 'epoch')`).Scan(&began); err != nil {
		r.t.Fatal(err)
	}
	return began
}

// nextQuarter begins the next quarter hour, at Strava too.
func (r rig) nextQuarter() {
	r.t.Helper()
	r.later()
	if err := r.sandbox.ForgetUsage(r.t.Context(), sandbox.Strava); err != nil {
		r.t.Fatal(err)
	}
}

// checkAtOnce checks a connection n times at each instance, all at once, and returns how many checks succeeded. A
// refusal has to say until when.
func (r rig) checkAtOnce(ctx context.Context, instances []*connection.Store, owner oauth.Owner, n int) int {
	r.t.Helper()
	var good int
	var mu sync.Mutex
	var wg sync.WaitGroup
	next := r.quarter().Add(15 * time.Minute)
	for _, s := range instances {
		for range n {
			wg.Go(func() {
				err := s.Check(ctx, r.providers[sandbox.Strava], owner.UserID)
				failure, _ := errors.AsType[*oauth.Error](err)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					good++
				case !errors.Is(err, oauth.ErrRateLimited) || failure.Status != 0 || !failure.Until.Equal(next):
					r.t.Errorf("got %v until %v, want a refusal of ours until %v", err, failure.Until, next)
				}
			})
		}
	}
	wg.Wait()
	return good
}

// Three instances that all ask at once use up the share of people's buttons, and not one call more.
func TestQuotaIsOneForAllInstances(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	instances, owner := r.instances(3), r.owner()
	r.set(sandbox.Strava, sandbox.ReadQuota, "40,1000")
	r.connect(sandbox.Strava, owner, "ada")
	r.learn(owner)
	r.inOneQuarter(func(t testing.TB, r rig) {
		r.nextQuarter()
		before := r.asked(sandbox.Strava, sandbox.UserInfo)
		good := r.checkAtOnce(t.Context(), instances, owner, 100)
		if arrived := r.asked(sandbox.Strava, sandbox.UserInfo) - before; arrived != 32 || good != 32 {
			t.Errorf("%d calls arrived and %d were answered, want 32 of 300", arrived, good)
		}
	})
	c := r.connection(sandbox.Strava, owner)
	if c.State != connection.Degraded || c.Cause != connection.SlowDown || c.RetryAt.IsZero() {
		t.Errorf("the connection is in %s because of %s until %v", c.State, c.Cause, c.RetryAt)
	}
	r.nextQuarter()
	if err := r.Check(t.Context(), r.providers[sandbox.Strava], owner.UserID); err != nil {
		t.Errorf("in the next quarter hour: %v", err)
	}
	if c := r.connection(sandbox.Strava, owner); c.State != connection.Active || !c.RetryAt.IsZero() {
		t.Errorf("the connection is in %s until %v", c.State, c.RetryAt)
	}
}

// Background work leaves calls to people who press buttons, and those leave calls to people who sign in.
func TestSharesOfAQuota(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	instances, owner := r.instances(3), r.owner()
	r.set(sandbox.Strava, sandbox.ReadQuota, "40,1000")
	r.connect(sandbox.Strava, owner, "ada")
	r.learn(owner)
	r.inOneQuarter(func(t testing.TB, r rig) {
		r.nextQuarter()
		if good := r.checkAtOnce(oauth.InBackground(t.Context()), instances, owner, 50); good != 24 {
			t.Errorf("background work made %d calls, want 24 of 40", good)
		}
		if c := r.connection(sandbox.Strava, owner); c.State != connection.Active {
			t.Errorf("the connection is in %s, want active", c.State)
		}
		if good := r.checkAtOnce(t.Context(), instances, owner, 10); good != 8 {
			t.Errorf("people made %d calls, want 8 more", good)
		}
		if _, err := r.Begin(t.Context(), r.providers[sandbox.Strava], r.owner(), "/"); err != nil {
			t.Errorf("there is no room left to sign in or to connect: %v", err)
		}
	})
}

// When the day's calls are used up, the connection is paused until midnight UTC: no call is made, no code is spent, and
// no one is sent to Strava.
func TestSpentDay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	owner, other := r.owner(), r.owner()
	strava := r.providers[sandbox.Strava]
	r.set(sandbox.Strava, sandbox.Quota, "200,5")
	r.connect(sandbox.Strava, owner, "ada")
	r.learn(owner)
	r.inOneQuarter(func(t testing.TB, r rig) {
		r.nextQuarter()
		back := r.decide(r.begin(sandbox.Strava, other), "max", "allow")
		for range 4 {
			if err := r.Check(t.Context(), strava, owner.UserID); err != nil {
				t.Fatal(err)
			}
		}
		before := r.asked(sandbox.Strava, sandbox.UserInfo)
		err := r.Check(t.Context(), strava, owner.UserID)
		if !errors.Is(err, oauth.ErrQuotaSpent) || !errors.Is(err, oauth.ErrRateLimited) {
			t.Errorf("error %v, want that the day is spent", err)
		}
		midnight := r.quarter().Truncate(24*time.Hour).AddDate(0, 0, 1)
		c := r.connection(sandbox.Strava, owner)
		if c.State != connection.Suspended || c.Cause != connection.QuotaSpent || !c.RetryAt.Equal(midnight) {
			t.Errorf("the connection is in %s because of %s until %v, want %v", c.State, c.Cause, c.RetryAt, midnight)
		}
		r.exec(`UPDATE cairn.budgets SET day_used = day_limit WHERE provider = 'strava'`)
		if _, err := r.finish(sandbox.Strava, other, back); !errors.Is(err, oauth.ErrQuotaSpent) {
			t.Errorf("coming back from the consent page: error %v", err)
		}
		if _, err := r.Begin(t.Context(), strava, other, "/"); !errors.Is(err, oauth.ErrQuotaSpent) {
			t.Errorf("going to the consent page: error %v", err)
		}
		after, codes := r.asked(sandbox.Strava, sandbox.UserInfo), r.requests(sandbox.Strava, "authorization_code")
		if after != before || codes != 1 {
			t.Errorf("%d calls and %d codes were sent all the same", after-before, codes-1)
		}
	})
	r.nextQuarter()
	if err := r.Check(t.Context(), strava, owner.UserID); err != nil {
		t.Fatal(err)
	}
	want := []string{"paused: quota_spent 0", "active: works 200"}
	if story := r.story(sandbox.Strava, owner); !slices.Equal(story[1:3], want) {
		t.Errorf("the history is %q, want %q", story, want)
	}
}

// All instances respect each provider's Retry-After, in each of its forms, for a day at most.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, value    string
		want           time.Duration
		provider, mode string // Garmin and a 429 unless they are set
	}{
		{name: "seconds", value: "90", want: 90 * time.Second},
		{name: "a date", value: time.Now().Add(2 * time.Hour).UTC().Format(http.TimeFormat), want: 2 * time.Hour},
		{name: "years", value: "99999999999999999999", want: 24 * time.Hour},
		{name: "a date in years", value: "Fri, 31 Dec 2100 23:59:59 GMT", want: 24 * time.Hour},
		{name: "nothing", value: "", want: 5 * time.Minute},
		{name: "words", value: "soon", want: 5 * time.Minute},
		{name: "the past", value: "Fri, 31 Dec 1999 23:59:59 GMT", want: 5 * time.Minute},
		{name: "less than nothing", value: "-9223372036854775808", want: 5 * time.Minute},
		{name: "out of service", value: "600", want: 10 * time.Minute, mode: "503"},
		{name: "one person", value: "90", want: 90 * time.Second, provider: sandbox.Foursquare},
		{name: "a day", value: "86400", want: 24 * time.Hour, provider: sandbox.Strava},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			provider, mode := cmp.Or(tt.provider, sandbox.Garmin), cmp.Or(tt.mode, sandbox.ModeRetryAfter)
			r := newRig(t)
			owner, p := r.owner(), r.providers[provider]
			other := r.instances(1)[0]
			r.connect(provider, owner, "ada")
			r.set(provider, sandbox.RetryAfter, tt.value)
			if err := r.sandbox.FailNext(t.Context(), provider, sandbox.UserInfo, mode, 1); err != nil {
				t.Fatal(err)
			}
			err := r.Check(t.Context(), p, owner.UserID)
			failure, _ := errors.AsType[*oauth.Error](err)
			if failure == nil || failure.Status == 0 ||
				time.Until(failure.Until)-tt.want > time.Second ||
				time.Until(failure.Until) < tt.want*9/10-20*time.Second {
				t.Fatalf("error %v until %v, want %v", err, time.Until(failure.Until), tt.want)
			}
			if c := r.connection(provider, owner); c.State != connection.Degraded || !c.RetryAt.Equal(failure.Until) {
				t.Errorf("the connection is in %s until %v, want %v", c.State, c.RetryAt, failure.Until)
			}
			before := r.asked(provider, sandbox.UserInfo)
			again, _ := errors.AsType[*oauth.Error](other.Check(t.Context(), p, owner.UserID))
			if again == nil || again.Kind != oauth.ErrRateLimited || !again.Until.Equal(failure.Until) ||
				r.asked(provider, sandbox.UserInfo) != before {
				t.Errorf("another instance: %v, want that it does not ask before %v", again, failure.Until)
			}
			r.later()
			err = other.Check(t.Context(), p, owner.UserID)
			if err != nil || r.connection(provider, owner).State != connection.Active {
				t.Errorf("after that time: %v", err)
			}
		})
	}
}

// Strava names no time: it means the end of the quarter hour.
func TestSlowDownAtStrava(t *testing.T) {
	t.Parallel()
	for _, call := range []string{sandbox.Token, sandbox.API} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			r, owner := newConnected(t, sandbox.Strava)
			r.inOneQuarter(func(t testing.TB, r rig) {
				r.nextQuarter()
				r.expire(sandbox.Strava)
				if err := r.sandbox.FailNext(t.Context(), sandbox.Strava, call, "429", 1); err != nil {
					t.Fatal(err)
				}
				_ = r.Check(t.Context(), r.providers[sandbox.Strava], owner.UserID)
				c, want := r.connection(sandbox.Strava, owner), r.quarter().Add(15*time.Minute)
				if c.Cause != connection.SlowDown || !c.RetryAt.Equal(want) {
					t.Errorf("%s until %v, want %v", c.Cause, c.RetryAt, want)
				}
			})
		})
	}
}

// Foursquare limits the calls about one person. Others are served.
func TestFoursquareLimitsOnePerson(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ada, max := r.owner(), r.owner()
	p := r.providers[sandbox.Foursquare]
	r.connect(sandbox.Foursquare, ada, "ada")
	r.connect(sandbox.Foursquare, max, "max")
	r.set(sandbox.Foursquare, sandbox.Quota, "1")
	if err := r.Check(t.Context(), p, ada.UserID); !errors.Is(err, oauth.ErrRateLimited) {
		t.Fatalf("error %v, want that it asks to slow down", err)
	}
	r.exec(`DELETE FROM cairn_sandbox.quota_use`)
	before := r.asked(sandbox.Foursquare, sandbox.UserInfo)
	err := r.Check(t.Context(), p, ada.UserID)
	if !errors.Is(err, oauth.ErrRateLimited) || r.asked(sandbox.Foursquare, sandbox.UserInfo) != before {
		t.Errorf("error %v, want that it is not asked yet", err)
	}
	if err := r.Check(t.Context(), p, max.UserID); err != nil {
		t.Errorf("another person: %v", err)
	}
	c := r.connection(sandbox.Foursquare, ada)
	if c.State != connection.Degraded || c.Cause != connection.SlowDown || time.Until(c.RetryAt) < 4*time.Minute {
		t.Errorf("the connection is in %s because of %s until %v", c.State, c.Cause, c.RetryAt)
	}
}

// Headers that make no sense change nothing: we count the calls ourselves, against the documented limits.
func TestOddQuotaHeaders(t *testing.T) {
	t.Parallel()
	for _, odd := range []string{sandbox.Missing, sandbox.Malformed, sandbox.Absurd} {
		t.Run(odd, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			owner := r.owner()
			r.set(sandbox.Strava, sandbox.QuotaHeaders, odd)
			r.connect(sandbox.Strava, owner, "ada")
			r.inOneQuarter(func(t testing.TB, r rig) {
				r.nextQuarter()
				for range 3 {
					if err := r.Check(t.Context(), r.providers[sandbox.Strava], owner.UserID); err != nil {
						t.Fatal(err)
					}
				}
				budgets, err := oauth.Budgets(t.Context(), r.pool)
				if err != nil || len(budgets) != 1 {
					t.Fatalf("the budgets are %+v, error %v", budgets, err)
				}
				b := budgets[0]
				if b.QuarterUsed != 3 || b.QuarterMax != 100 || b.DayUsed != 3 || b.DayMax != 1000 ||
					!b.PausedUntil.IsZero() {
					t.Errorf("the budget is %+v, want 3 calls used of 100 and 1000", b)
				}
			})
		})
	}
}

// While a provider wants no calls about a connection, its tokens aren't refreshed either.
func TestRefreshWaitsWithTheConnection(t *testing.T) {
	t.Parallel()
	r, owner := newExpired(t, sandbox.Strava)
	r.exec(`UPDATE cairn.connections SET state = 'trouble', cause = 'slow_down', retry_at = now() + interval '1 hour'`)
	_, err := r.Token(t.Context(), r.providers[sandbox.Strava], owner.UserID)
	refused, ok := errors.AsType[*oauth.Error](err)
	if !ok || !errors.Is(err, oauth.ErrRateLimited) || !refused.Unsent || refused.Until.IsZero() {
		t.Errorf("got error %v, want a call that was not made", err)
	}
	if n := r.requests(sandbox.Strava, "refresh_token"); n != 0 {
		t.Errorf("%d refreshes", n)
	}
	r.later()
	if _, err := r.Token(t.Context(), r.providers[sandbox.Strava], owner.UserID); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
