package main

import (
	"slices"
	"strings"
	"testing"
)

// Strava's challenge is answered by the running server. The subscription is found again, and ended.
func TestStravaSubscription(t *testing.T) {
	t.Parallel()
	env := newCalled(t).env
	for _, step := range []struct{ verb, want string }{
		{"show", "sends no events"}, {"subscribe", "sends its events here"}, {"subscribe", "sends its events here"},
		{"show", "sends its events here"}, {"unsubscribe", "sends no events"}, {"show", "sends no events"},
	} {
		out := commandOutput(t, env, "strava", step.verb)
		if !strings.Contains(out, step.want) {
			t.Fatalf("%s:\n%s", step.verb, out)
		}
		if strings.Contains(out, "/webhooks/") {
			t.Errorf("%s prints the secret address:\n%s", step.verb, out)
		}
	}
	wrong := slices.Concat(env, []string{"STRAVA_CLIENT_SECRET=another"})
	wantFailure(t, wrong, "strava show",
		"do STRAVA_CLIENT_ID and STRAVA_CLIENT_SECRET belong together?")
	wantFailure(t, nil, "strava dance", "see: server help strava")
}
