package connection_test

import (
	"testing"

	"cairn/internal/oauth"
	"cairn/internal/sandbox"
)

// newConnected returns a rig, and an owner who has connected a provider as Ada.
func newConnected(t *testing.T, provider string) (rig, oauth.Owner) {
	t.Helper()
	r := newRig(t)
	owner := r.owner()
	r.connect(provider, owner, "ada")
	return r, owner
}

// newExpired is newConnected with an access token that has expired.
func newExpired(t *testing.T, provider string) (rig, oauth.Owner) {
	t.Helper()
	r, owner := newConnected(t, provider)
	r.expire(provider)
	return r, owner
}

// eachRefreshing runs a test for each provider whose access tokens expire.
func eachRefreshing(t *testing.T, test func(t *testing.T, provider string)) {
	t.Helper()
	for _, provider := range []string{sandbox.Strava, sandbox.Garmin} {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			test(t, provider)
		})
	}
}

// expire ends the access tokens, at the provider and by our clock.
func (r rig) expire(provider string) {
	r.t.Helper()
	if err := r.sandbox.ExpireTokens(r.t.Context(), provider); err != nil {
		r.t.Fatal(err)
	}
	r.exec(`UPDATE cairn.connections SET token_expires_at = now() - interval '1 minute' WHERE provider = $1`, provider)
}
