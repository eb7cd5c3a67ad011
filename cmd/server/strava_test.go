package main

import (
	"slices"
	"strings"
	"testing"
)

// The subscription is made with a challenge that the running server answers, is found again, and is ended.
func TestStravaSubscription(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1)
	for _, step := range []struct{ verb, want string }{
		{"show", "sends no events"}, {"subscribe", "sends its events here"}, {"subscribe", "sends its events here"},
		{"show", "sends its events here"}, {"unsubscribe", "sends no events"}, {"show", "sends no events"},
	} {
		out, err := serverCommand(t, []string{"strava", step.verb}, f.instances[0].env...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), step.want) {
			t.Fatalf("%s: %v:\n%s", step.verb, err, out)
		}
		if strings.Contains(string(out), "/webhooks/") {
			t.Errorf("%s tells the secret address:\n%s", step.verb, out)
		}
	}
	wrong := slices.Concat(f.instances[0].env, []string{"STRAVA_CLIENT_SECRET=another"})
	wantFailure(t, serverCommand(t, []string{"strava", "show"}, wrong...),
		"is STRAVA_CLIENT_SECRET the one of STRAVA_CLIENT_ID?")
	wantFailure(t, serverCommand(t, []string{"strava", "dance"}), "see: server help strava")
}
