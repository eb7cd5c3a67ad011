package connection_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/sandbox"
	"cairn/internal/testkit"
)

// delayed returns a provider that answers requests for tokens only after let is closed. arrived reports each of them.
func (r rig) delayed(provider string) (p *oauth.Provider, arrived <-chan struct{}, let chan<- struct{}) {
	r.t.Helper()
	came, may := make(chan struct{}, 100), make(chan struct{})
	endpoints := sandbox.EndpointsOf("http://sandbox/sandbox", provider)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if "http://sandbox"+request.URL.Path == endpoints.Token {
			came <- struct{}{}
			<-may
		}
		r.sandbox.Handler().ServeHTTP(w, request)
	}))
	r.t.Cleanup(front.Close)
	app := oauth.App{
		ClientID:     provider + "-client",
		ClientSecret: provider + "-s3cr3t",
		RedirectURL:  "http://cairn.test/" + provider,
		Endpoints:    oauth.Endpoints(sandbox.EndpointsOf(front.URL+"/sandbox", provider)),
	}
	return makers[provider](app), came, may
}

// wantToken checks that there is a valid token, after so many refreshes.
func (r rig) wantToken(provider string, owner oauth.Owner, refreshes int) {
	r.t.Helper()
	if err := r.Check(r.t.Context(), r.providers[provider], owner.UserID); err != nil {
		r.t.Errorf("the connection does not work: %v", err)
	}
	if n := r.requests(provider, "refresh_token"); n != refreshes {
		r.t.Errorf("%d refreshes, want %d", n, refreshes)
	}
}

// A token that the provider ends early is refused to everyone who uses it. The first of them
// refreshes it; anyone who is refused later, with the old token, uses the new one.
func TestRaceRefusedTokenIsRefreshedOnce(t *testing.T) {
	t.Parallel()
	eachRefreshing(t, func(t *testing.T, provider string) {
		r, owner := newConnected(t, provider)
		if provider == sandbox.Strava { // a small application may not ask that often
			r.set(provider, sandbox.Quota, "100000,100000")
			r.set(provider, sandbox.ReadQuota, "100000,100000")
		}
		stores := r.instances(3)
		for round := range testkit.Rounds(t) {
			if err := r.sandbox.ExpireTokens(t.Context(), provider); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			var first sync.Once
			refreshed := make(chan struct{})
			for i := range 50 {
				wg.Go(func() {
					if i%2 == 1 { // half of them come after it, and half while it is refreshed
						<-refreshed
					}
					if err := stores[i%3].Check(t.Context(), r.providers[provider], owner.UserID); err != nil {
						t.Error(err)
					}
					first.Do(func() { close(refreshed) })
				})
			}
			wg.Wait()
			r.wantToken(provider, owner, round+1)
		}
	})
}

// When a refresh fails, those who waited for it don't each ask the provider again.
func TestFailedRefreshIsShared(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]error{
		"500":             oauth.ErrUnavailable,
		"429":             oauth.ErrRateLimited,
		sandbox.ModeReset: oauth.ErrUnavailable,
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			r, owner := newExpired(t, sandbox.Strava)
			r.set(sandbox.Strava, sandbox.Refresh, mode)
			p, arrived, let := r.delayed(sandbox.Strava)
			stores := r.instances(3)
			var asking sync.WaitGroup
			for i := range 50 {
				asking.Go(func() {
					if _, err := stores[i%3].Token(t.Context(), p, owner.UserID); !errors.Is(err, want) {
						t.Errorf("got %v, want %v", err, want)
					}
				})
			}
			<-arrived
			r.awaitReads(300)
			close(let)
			asking.Wait()
			if n := r.requests(sandbox.Strava, "refresh_token"); n != 1 {
				t.Errorf("%d refreshes, want 1", n)
			}
			r.set(sandbox.Strava, sandbox.Refresh, sandbox.ModeNone)
			r.wantToken(sandbox.Strava, owner, 2)
		})
	}
}

// awaitReads waits until the connections have been read n times, which shows that callers wait.
func (r rig) awaitReads(n int64) {
	r.t.Helper()
	reads := func() (n int64) {
		err := r.pool.QueryRow(r.t.Context(), `
			SELECT COALESCE(seq_scan, 0) + COALESCE(idx_scan, 0) FROM pg_stat_user_tables
			WHERE schemaname = 'cairn' AND relname = 'connections'`).Scan(&n)
		if err != nil {
			r.t.Fatal(err)
		}
		return n
	}
	testkit.Eventually(r.t, "many wait", func() bool { return reads() >= n })
}

// failing makes the database refuse to store tokens; count returns how often it has refused.
func (r rig) failing() (count func() int) {
	r.exec(`CREATE SEQUENCE cairn.refused`) // what a sequence counts stays when a transaction is rolled back
	r.exec(`CREATE FUNCTION cairn.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN PERFORM nextval('cairn.refused'); RAISE EXCEPTION 'no' USING ERRCODE = 'admin_shutdown'; END $$`)
	r.exec(`
		CREATE TRIGGER refuse BEFORE UPDATE OF sealed_tokens ON cairn.connections
		FOR EACH ROW EXECUTE FUNCTION cairn.refuse()`)
	return func() (n int) {
		err := r.pool.QueryRow(r.t.Context(), `SELECT last_value - 1 + is_called::int FROM cairn.refused`).Scan(&n)
		if err != nil {
			r.t.Fatal(err)
		}
		return n
	}
}

// When the provider answers, the old refresh token is spent. If the database is unreachable then, the connection
// must survive that, whether or not the browser is still there.
func TestAnswerOutlivesAFailingDatabase(t *testing.T) {
	t.Parallel()
	eachRefreshing(t, func(t *testing.T, provider string) {
		r, owner := newExpired(t, provider)
		failures := r.failing()
		ctx, leave := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { _, err := r.Token(ctx, r.providers[provider], owner.UserID); done <- err }()
		testkit.Eventually(r.t, "the database has failed twice", func() bool { return failures() >= 2 })
		leave()
		testkit.Eventually(r.t, "and twice again", func() bool { return failures() >= 4 })
		r.exec(`DROP TRIGGER refuse ON cairn.connections`)
		if err := <-done; err != nil {
			t.Errorf("the caller got %v", err)
		}
		r.wantToken(provider, owner, 1)
	})
}

// A statement that takes too long is given up and sent again, and may have had its effect all the same.
func TestAnswerOutlivesASlowDatabase(t *testing.T) {
	t.Parallel()
	limits := patient
	limits.Statement = 500 * time.Millisecond
	r := newRigWith(t, limits)
	owner := r.owner()
	r.connect(sandbox.Strava, owner, "ada")
	r.expire(sandbox.Strava)
	p, arrived, let := r.delayed(sandbox.Strava)
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := r.Token(ctx, p, owner.UserID); done <- err }()
	<-arrived
	blocker, err := r.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := blocker.Exec(t.Context(), `SELECT FROM cairn.connections FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	leave()
	close(let)
	tries := map[string]bool{}
	testkit.Eventually(r.t, "the second try is stuck too", func() bool {
		var began string
		_ = r.pool.QueryRow(t.Context(), `
			SELECT query_start::text FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%SET sealed_tokens%'
			ORDER BY query_start DESC LIMIT 1`).Scan(&began)
		tries[began] = true
		delete(tries, "")
		return len(tries) == 2
	})
	if err := blocker.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-done
	r.wantToken(sandbox.Strava, owner, 1)
}

// When the database stays away until the lease runs out, the new tokens are lost, and the next use says so.
func TestLostTokensNeedAReconnect(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	r := newRigWith(t, oauth.Limits{Call: 3 * time.Second, Queue: testkit.Patience, Statement: testkit.Patience})
	owner := r.owner()
	r.connect(sandbox.Strava, owner, "ada")
	r.expire(sandbox.Strava)
	r.failing()
	if _, err := r.Token(t.Context(), r.providers[sandbox.Strava], owner.UserID); err == nil {
		t.Fatal("a token that is not stored was given out")
	}
	r.exec(`DROP TRIGGER refuse ON cairn.connections`)
	err := r.Check(t.Context(), r.providers[sandbox.Strava], owner.UserID)
	if !errors.Is(err, connection.ErrReconnect) {
		t.Errorf("the next use: %v, want ErrReconnect", err)
	}
	c := r.connection(sandbox.Strava, owner)
	if c.State != connection.NeedsReconnect || c.Cause != connection.RefreshRefused {
		t.Errorf("the connection is %s, because of %s", c.State, c.Cause)
	}
	r.connect(sandbox.Strava, owner, "ada")
	r.wantToken(sandbox.Strava, owner, 2)
}

// If a person connects again during a refresh, the refresh does not overwrite the new connection, and its caller gets
// the new token.
func TestRaceConnectDuringRefresh(t *testing.T) {
	t.Parallel()
	r, owner := newExpired(t, sandbox.Garmin)
	p, arrived, let := r.delayed(sandbox.Garmin)
	type answer struct {
		token string
		err   error
	}
	done := make(chan answer, 1)
	go func() { token, err := r.Token(t.Context(), p, owner.UserID); done <- answer{token, err} }()
	<-arrived
	r.connect(sandbox.Garmin, owner, "ada")
	want, err := r.Token(t.Context(), p, owner.UserID)
	close(let)
	if got := <-done; err != nil || got.err != nil || got.token != want {
		t.Errorf("the refresher got the new token: %v, its error %v, ours %v", got.token == want, got.err, err)
	}
	r.wantToken(sandbox.Garmin, owner, 1)
}

// Callers wait for a refresh whose instance died as long as a refresh can take, not until its lease runs out. Then they
// get an error, and after the lease the refresh works.
func TestWaitForADeadInstanceIsBounded(t *testing.T) {
	t.Parallel()
	r, owner := newExpired(t, sandbox.Strava)
	r.exec(`UPDATE cairn.connections SET refresh_lease = 'dead', refresh_lease_until = now() + interval '1 day'`)
	hasty := oauth.Limits{Call: 300 * time.Millisecond, Statement: 200 * time.Millisecond}
	began := time.Now()
	_, err := r.storeIn(r.pool, newSealer(t, 1), oauth.Options{Limits: hasty}).
		Token(t.Context(), r.providers[sandbox.Strava], owner.UserID)
	if took := time.Since(began); !errors.Is(err, oauth.ErrUnavailable) || took < hasty.Call+hasty.Statement {
		t.Errorf("after %v: %v, want ErrUnavailable after a call and a statement", took, err)
	}
	r.exec(`UPDATE cairn.connections SET refresh_lease_until = now()`)
	r.wantToken(sandbox.Strava, owner, 1)
}
