package connection_test

import (
	"slices"
	"testing"
	"time"

	"cairn/internal/oauth"
	"cairn/internal/sandbox"
)

// Every call to a provider is reported once, with its result.
func TestObserve(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		provider, token, api string // how the provider answers
		want                 []string
	}{
		{sandbox.Strava, "none", "none", []string{"strava refresh ok", "strava userinfo ok", "strava revoke ok"}},
		{sandbox.Strava, "400", "none", []string{"strava refresh refused", "strava revoke ok"}},
		{sandbox.Strava, "none", "429", []string{"strava refresh ok", "strava userinfo rate_limited"}},
		{sandbox.Strava, "reset", "500", []string{"strava refresh unavailable", "strava revoke unavailable"}},
		{sandbox.Garmin, "none", "403", []string{
			"garmin refresh ok", "garmin userinfo refused",
			"garmin refresh ok", "garmin userinfo refused",
			"garmin revoke refused",
		}},
	} {
		t.Run(tt.provider+" "+tt.token+" "+tt.api, func(t *testing.T) {
			t.Parallel()
			r, owner := newExpired(t, tt.provider)
			r.set(tt.provider, sandbox.Token, tt.token)
			r.set(tt.provider, sandbox.API, tt.api)
			var heard []string
			observe := func(provider, call, result string, took time.Duration) {
				if took <= 0 || took > time.Minute {
					t.Errorf("%s %s took %v", provider, call, took)
				}
				heard = append(heard, provider+" "+call+" "+result)
			}
			r.Store = r.storeIn(r.pool, newSealer(t, 1), oauth.Options{Limits: r.limits, Observe: observe})
			_ = r.Check(t.Context(), r.providers[tt.provider], owner.UserID)
			r.disconnect(tt.provider, owner)
			_ = r.revoke()
			if !slices.Equal(heard, tt.want) {
				t.Errorf("heard %q, want %q", heard, tt.want)
			}
		})
	}
}
