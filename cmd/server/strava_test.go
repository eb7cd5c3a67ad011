package main

import (
	"slices"
	"strings"
	"testing"
)

// The subscription is made with a challenge that the running server answers, is found again, and is ended.
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
			t.Errorf("%s tells the secret address:\n%s", step.verb, out)
		}
	}
	wrong := slices.Concat(env, []string{"STRAVA_CLIENT_SECRET=another"})
	wantFailure(t, wrong, "strava show",
		"is STRAVA_CLIENT_SECRET the one of STRAVA_CLIENT_ID?")
	wantFailure(t, nil, "strava dance", "see: server help strava")
}
