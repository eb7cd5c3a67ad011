package connection_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"golang.org/x/oauth2"

	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/sandbox"
)

// interrupted is an adapter during whose calls something else happens. Its revocations fail.
type interrupted struct {
	oauth.Adapter
	meanwhile func()
}

func (i interrupted) UserInfo(ctx context.Context, c *oauth.Caller, accessToken string) (oauth.Account, error) {
	account, err := i.Adapter.UserInfo(ctx, c, accessToken)
	i.meanwhile()
	return account, err
}

func (i interrupted) Revoke(_ context.Context, c *oauth.Caller, _ *oauth2.Token, _ connection.Access) error {
	i.meanwhile()
	return c.Fail("revoke", oauth.ErrUnavailable, 0, "")
}

// interrupt returns a provider during whose calls something else happens.
func (r rig) interrupt(provider string, meanwhile func()) *oauth.Provider {
	p := *r.providers[provider]
	p.Adapter = interrupted{p.Adapter, meanwhile}
	return &p
}

// An answer for the old tokens does not overwrite the account of a connection that was renewed meanwhile.
func TestLateAnswerDoesNotOverwriteARenewedConnection(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(r rig, owner oauth.Owner){
		"connected again":            func(rig, oauth.Owner) {},
		"disconnected and connected": func(r rig, owner oauth.Owner) { r.disconnect(sandbox.Garmin, owner) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, owner := newConnected(t, sandbox.Garmin)
			p := r.interrupt(sandbox.Garmin, func() {
				before(r, owner)
				r.connect(sandbox.Garmin, owner, "ada", "HEALTH_EXPORT")
			})
			if err := r.Check(t.Context(), p, owner.UserID); err != nil {
				t.Fatal(err)
			}
			if c := r.connection(sandbox.Garmin, owner); !slices.Equal(c.Granted, []string{"HEALTH_EXPORT"}) {
				t.Errorf("granted are %q, want what the person has just permitted", c.Granted)
			}
		})
	}
}

// An instance whose claim has run out does not give back the claim of another one.
func TestRevocationReleasesOnlyItsOwnClaim(t *testing.T) {
	t.Parallel()
	r, owner := newConnected(t, sandbox.Garmin)
	r.disconnect(sandbox.Garmin, owner)
	r.providers[sandbox.Garmin] = r.interrupt(sandbox.Garmin, func() {
		r.exec(`UPDATE cairn.withdrawals SET busy_until = now() + interval '1 day'`)
	})
	err := r.storeIn(r.pool, newSealer(t, 1), oauth.Options{Limits: r.limits}).
		Revoke(t.Context(), r.pending(sandbox.Garmin)[0])
	if !errors.Is(err, oauth.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	if err := r.revoke(); !errors.Is(err, connection.ErrHeld) {
		t.Errorf("during the other claim: %v, want ErrHeld", err)
	}
}
