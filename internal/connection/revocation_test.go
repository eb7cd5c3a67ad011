package connection_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/sandbox"
	"cairn/internal/testkit"
)

func (r rig) disconnect(provider string, owner oauth.Owner) {
	r.t.Helper()
	if _, err := r.tryDisconnect(r.providers[provider], owner.UserID); err != nil {
		r.t.Fatal(err)
	}
}

// secrets counts the rows that hold sealed tokens.
func (r rig) secrets() (n int) {
	r.t.Helper()
	err := r.pool.QueryRow(r.t.Context(), `
		SELECT (SELECT count(*) FROM cairn.connections) + (SELECT count(*) FROM cairn.withdrawals)`).Scan(&n)
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// last returns the newest event of a connection's history.
func (r rig) last(provider string, owner oauth.Owner) string {
	r.t.Helper()
	story := r.story(provider, owner)
	return story[len(story)-1]
}

func TestDisconnectRevokes(t *testing.T) {
	t.Parallel()
	revokeThere := func(provider string) func(r rig) {
		return func(r rig) {
			if err := r.sandbox.RevokeGrant(r.t.Context(), r.grants(provider)[0].ID); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	for name, tt := range map[string]struct {
		provider string
		prepare  func(r rig)
	}{
		"strava": {sandbox.Strava, func(rig) {}},
		"strava, the old address only": {sandbox.Strava, func(r rig) {
			r.set(sandbox.Strava, sandbox.RevokeEndpoint, sandbox.Off)
		}},
		"strava, expired, the old address only": {sandbox.Strava, func(r rig) {
			r.expire(sandbox.Strava)
			r.set(sandbox.Strava, sandbox.RevokeEndpoint, sandbox.Off)
		}},
		"strava, expired":               {sandbox.Strava, func(r rig) { r.expire(sandbox.Strava) }},
		"strava, revoked there already": {sandbox.Strava, revokeThere(sandbox.Strava)},
		"garmin":                        {sandbox.Garmin, func(rig) {}},
		"garmin, expired":               {sandbox.Garmin, func(r rig) { r.expire(sandbox.Garmin) }},
		"garmin, revoked there already": {sandbox.Garmin, revokeThere(sandbox.Garmin)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, owner := newConnected(t, tt.provider)
			tt.prepare(r)
			r.disconnect(tt.provider, owner)
			if c := r.connection(tt.provider, owner); c.Subject != "" {
				t.Errorf("still connected: %+v", c)
			}
			if got := r.last(tt.provider, owner); got != "withdrawing: disconnected 0" {
				t.Errorf("the history ends with %q", got)
			}
			if err := r.revoke(); err != nil {
				t.Error(err)
			}
			if got := r.last(tt.provider, owner); got != "ended: told 0" {
				t.Errorf("the history ends with %q", got)
			}
			if n := len(r.grants(tt.provider)) + r.secrets(); n != 0 {
				t.Errorf("%d grants and sealed tokens are left", n)
			}
			_, err := r.tryDisconnect(r.providers[tt.provider], owner.UserID)
			if !errors.Is(err, connection.ErrNotFound) {
				t.Errorf("again: %v, want ErrNotFound", err)
			}
		})
	}
}

func TestAbandonedRevocationIsRecorded(t *testing.T) {
	t.Parallel()
	r, owner := newConnected(t, sandbox.Strava)
	r.disconnect(sandbox.Strava, owner)
	pending := r.pending(sandbox.Strava)
	if len(pending) != 1 {
		t.Fatalf("pending: %v", pending)
	}
	if err := r.AbandonRevocation(t.Context(), pending[0]); err != nil {
		t.Fatal(err)
	}
	if got := r.last(sandbox.Strava, owner); got != "ended: not_told 0" || r.secrets() != 0 {
		t.Errorf("the history ends with %q, %d rows with tokens are left", got, r.secrets())
	}
}

func TestFoursquareHasNoRevocation(t *testing.T) {
	t.Parallel()
	r, owner := newConnected(t, sandbox.Foursquare)
	r.disconnect(sandbox.Foursquare, owner)
	if got := r.last(sandbox.Foursquare, owner); got != "ended: disconnected 0" || r.secrets() != 0 {
		t.Errorf("the history ends with %q, %d rows with tokens are left", got, r.secrets())
	}
}

// An account that is connected again before its tokens are revoked stays connected: a revocation would end the new
// connection too.
func TestConnectingAgainDropsARevocation(t *testing.T) {
	t.Parallel()
	r, owner := newConnected(t, sandbox.Strava)
	r.disconnect(sandbox.Strava, owner)
	r.connect(sandbox.Strava, owner, "ada")
	if err := r.revoke(); err != nil {
		t.Fatal(err)
	}
	if err := r.Check(t.Context(), r.providers[sandbox.Strava], owner.UserID); err != nil {
		t.Errorf("the new connection does not work: %v", err)
	}
}

// While a person is connecting again, nothing is revoked. A person who begins to connect during a revocation waits
// until it has ended: otherwise it would end the new connection.
func TestRevokingAndConnectingExcludeEachOther(t *testing.T) {
	t.Parallel()
	r, owner := newConnected(t, sandbox.Garmin)
	r.disconnect(sandbox.Garmin, owner)
	callback := r.decide(r.begin(sandbox.Garmin, owner), "ada", "allow")
	if err := r.revoke(); !errors.Is(err, connection.ErrHeld) {
		t.Errorf("while the person is at Garmin: %v, want ErrHeld", err)
	}
	grant, err := r.finish(sandbox.Garmin, owner, callback)
	if err == nil {
		err = r.store(owner, grant)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Check(t.Context(), r.providers[sandbox.Garmin], owner.UserID); err != nil {
		t.Errorf("the new connection does not work: %v", err)
	}
	r.disconnect(sandbox.Garmin, owner)
	r.exec(`UPDATE cairn.withdrawals SET busy_until = now() + interval '1 second'`)
	r.begin(sandbox.Garmin, owner)
	var over bool
	err = r.pool.QueryRow(t.Context(), `SELECT busy_until <= now() FROM cairn.withdrawals`).Scan(&over)
	if err != nil || !over {
		t.Errorf("the person was sent to Garmin during a revocation (error %v)", err)
	}
	r.exec(`UPDATE cairn.withdrawals SET held_until = now() - interval '1 second'`) // they gave up
	if err := r.revoke(); err != nil || r.secrets() != 0 {
		t.Errorf("error %v, %d rows with tokens are left", err, r.secrets())
	}
}

// Disconnecting while a refresh is under way leaves nothing at the provider, not even the tokens
// that the refresh got.
func TestRaceDisconnectDuringRefresh(t *testing.T) {
	t.Parallel()
	eachRefreshing(t, func(t *testing.T, provider string) {
		r, owner := newExpired(t, provider)
		p, arrived, let := r.delayed(provider)
		refreshed := make(chan error, 1)
		go func() { _, err := r.Token(t.Context(), p, owner.UserID); refreshed <- err }()
		<-arrived
		r.disconnect(provider, owner)
		if err := r.revoke(); !errors.Is(err, connection.ErrHeld) {
			t.Errorf("revoking during the refresh: %v, want ErrHeld", err)
		}
		close(let)
		if err := <-refreshed; !errors.Is(err, connection.ErrNotFound) {
			t.Errorf("the refresh: %v, want ErrNotFound", err)
		}
		if err := r.revoke(); err != nil {
			t.Error(err)
		}
		if n := len(r.grants(provider)) + r.secrets(); n != 0 || r.last(provider, owner) != "ended: told 0" {
			t.Errorf("%d grants and sealed tokens are left, the history ends with %q", n, r.last(provider, owner))
		}
	})
}

// Two instances may run a revocation at once, and it runs after the account was deleted, too.
func TestRevocationRunsTwiceAndAfterItsAccount(t *testing.T) {
	t.Parallel()
	r, owner := newConnected(t, sandbox.Garmin)
	r.disconnect(sandbox.Garmin, owner)
	r.exec(`DELETE FROM cairn.users WHERE id = $1`, owner.UserID)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := r.revoke(); err != nil && !errors.Is(err, connection.ErrHeld) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(r.grants(sandbox.Garmin)) + r.secrets(); n != 0 {
		t.Errorf("%d grants and sealed tokens are left", n)
	}
}

// Without a valid token nothing can be revoked, and the history says so.
func TestRevocationWithoutAValidToken(t *testing.T) {
	t.Parallel()
	r, owner := newExpired(t, sandbox.Garmin)
	if err := r.sandbox.RevokeGrant(t.Context(), r.grants(sandbox.Garmin)[0].ID); err != nil {
		t.Fatal(err)
	}
	r.disconnect(sandbox.Garmin, owner)
	if err := r.revoke(); err != nil {
		t.Error(err)
	}
	if got := r.last(sandbox.Garmin, owner); got != "ended: not_told 0" || r.secrets() != 0 {
		t.Errorf("the history ends with %q, %d rows with tokens are left", got, r.secrets())
	}
}

// What is disconnected in a transaction that fails stays connected.
func TestDisconnectIsPartOfItsTransaction(t *testing.T) {
	t.Parallel()
	r, owner := newConnected(t, sandbox.Strava)
	tx, err := r.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Disconnect(t.Context(), tx, r.providers[sandbox.Strava], owner.UserID, 0); err != nil {
		t.Fatal(err)
	}
	if err := tx.Rollback(context.Background()); err != nil {
		t.Fatal(err)
	}
	if c := r.connection(sandbox.Strava, owner); c.State != connection.Active || r.secrets() != 1 {
		t.Errorf("the connection is %+v", c)
	}
}

// Unused tokens are refreshed once, before they expire.
func TestIdleTokensAreKeptAlive(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	garmin := r.providers[sandbox.Garmin]
	ada, moss := r.owner(), r.owner()
	r.connect(sandbox.Garmin, ada, "ada")
	r.connect(sandbox.Garmin, moss, "moss")
	r.exec(`UPDATE cairn.connections SET tokens_at = now() - interval '31 days' WHERE user_id = $1`, ada.UserID)
	idle, err := r.Idle(t.Context(), garmin)
	if err != nil || len(idle) != 1 || idle[0].UserID != ada.UserID {
		t.Fatalf("idle are %v, error %v", idle, err)
	}
	before := r.requests(sandbox.Garmin, "refresh_token")
	for range 2 { // a job may run twice
		if err := r.KeepAlive(t.Context(), garmin, idle[0]); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.requests(sandbox.Garmin, "refresh_token") - before; n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
	if idle, err = r.Idle(t.Context(), garmin); err != nil || len(idle) != 0 {
		t.Errorf("idle are still %v, error %v", idle, err)
	}
	r.disconnect(sandbox.Garmin, ada)
	if err := r.KeepAlive(t.Context(), garmin, connection.Idle{UserID: ada.UserID}); err != nil {
		t.Errorf("a connection that is gone: %v", err)
	}
}

// A reconcile lists a bounded number of revocations. No revocation waits for ever behind others.
func TestPendingRevocationsAreBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(`
		INSERT INTO cairn.withdrawals (user_id, provider, subject, sealed_tokens)
		SELECT n, 'strava', n::text, '' FROM generate_series(1, 1100) n`)
	listed := map[int64]bool{}
	testkit.Eventually(t, "every revocation was listed", func() bool {
		pending := r.pending(sandbox.Strava)
		if len(pending) != 1000 {
			t.Fatalf("%d of 1100 revocations are listed at once, want 1000", len(pending))
		}
		for _, id := range pending {
			listed[id] = true
		}
		return len(listed) == 1100
	})
}
