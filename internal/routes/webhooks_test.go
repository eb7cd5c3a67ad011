package routes_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"cairn/internal/testkit"
)

// postWebhook posts a webhook as a provider would and returns the status.
func postWebhook(t *testing.T, s site, path, body string, header ...string) int {
	t.Helper()
	return tellFrom(t, s, path, strings.NewReader(body), header...)
}

func tellFrom(t *testing.T, s site, path string, body io.Reader, header ...string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := s.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

const (
	stravaPath = "/webhooks/strava/" + webhookKey
	garminPath = "/webhooks/garmin/" + webhookKey
)

func deauthorized(athlete string) string {
	return `{"object_type":"athlete","object_id":` + athlete +
		`,"aspect_type":"update","updates":{"authorized":"false"},"owner_id":` + athlete +
		`,"subscription_id":131300,"event_time":1760791792}`
}

func syncs(t *testing.T, s site) int {
	t.Helper()
	return int(count(t, s, `SELECT count(*) FROM cairn.river_job WHERE kind = 'revisit'`))
}

func revokeThere(t *testing.T, s site, provider string) {
	t.Helper()
	grants, err := s.sandbox.Grants(t.Context(), provider)
	if err != nil || len(grants) != 1 {
		t.Fatalf("%d grants, error %v", len(grants), err)
	}
	if err := s.sandbox.RevokeGrant(t.Context(), grants[0].ID); err != nil {
		t.Fatal(err)
	}
}

// A connection that was revoked at the provider shows on the card without a click. A webhook that only
// claims so changes nothing.
func TestDeauthorizedAtTheProvider(t *testing.T) {
	t.Parallel()
	deregistered := `{"deregistrations":[{"userId":7},{"userId":"nobody"},` +
		`{"userId":"d3315b1072e84c1f9a7c1f0e5b6a9c01","userAccessToken":"x"}]}`
	for _, tt := range []struct{ provider, path, body string }{
		{"strava", stravaPath, deauthorized("5000000101")},
		{"strava", stravaPath, strings.Replace(deauthorized("5000000101"), `"false"`, "false", 1)},
		{"garmin", garminPath, deregistered},
	} {
		t.Run(tt.provider, func(t *testing.T) {
			t.Parallel()
			s := newSiteWith(t, options{works: true})
			b := signedUp(t, s, "ada@example.org")
			b.connect(tt.provider, "ada").to("/")
			awaitSyncs(t, s)
			forgetSyncs(t, s)
			send := func() {
				t.Helper()
				if status := postWebhook(t, s, tt.path, tt.body, "garmin-client-id", "garmin-id"); status != 200 {
					t.Fatalf("answered %d", status)
				}
			}
			send()
			testkit.Eventually(t, "the provider was asked", func() bool {
				return count(t, s, `
					SELECT count(*) FROM cairn.river_job
					WHERE kind = 'revisit' AND state = 'completed'`) == 1
			})
			b.get("/connections").want(200, "#card-"+tt.provider+"[data-state=active]", "")
			revokeThere(t, s, tt.provider)
			send()
			testkit.Eventually(t, "the card says it", func() bool {
				return b.get("/connections").Find("#card-"+tt.provider+"[data-state=needs_reconnect]").Length() == 1
			})
		})
	}
}

func TestStravaChallenge(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, newSite(t))
	ask := "?hub.mode=subscribe&hub.challenge=15f7d1a91c1f40f8a748fd134752feb3&hub.verify_token="
	a := b.get(stravaPath + ask + "verify-me")
	if a.status != 200 || strings.TrimSpace(a.body) != `{"hub.challenge":"15f7d1a91c1f40f8a748fd134752feb3"}` {
		t.Errorf("answered %d %q", a.status, a.body)
	}
	if a := b.get(stravaPath + ask + "wrong"); a.status != 403 {
		t.Errorf("a wrong token is answered %d", a.status)
	}
	if a := b.get("/webhooks/strava/wrong" + ask + "verify-me"); a.status != 404 {
		t.Errorf("a wrong key is answered %d", a.status)
	}
}

func TestHarmlessWebhooks(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	b.connect("strava", "ada").to("/")
	forgetSyncs(t, s)
	id := []string{"garmin-client-id", "garmin-id"}
	for name, tt := range map[string]struct {
		path, body string
		header     []string
		status     int
	}{
		"wrong key":        {"/webhooks/strava/x", deauthorized("5000000101"), nil, 404},
		"another provider": {"/webhooks/facebook/" + webhookKey, "{}", nil, 404},
		"no form":          {"/webhooks/foursquare/" + webhookKey, "{}", nil, 400},
		"unknown athlete":  {stravaPath, deauthorized("77"), nil, 200},
		"an unknown object": {
			path: stravaPath,
			body: `{"object_type":"segment","object_id":1,"aspect_type":"create",` +
				`"updates":{},"owner_id":5000000101}`,
			status: 200,
		},
		"authorized":  {stravaPath, strings.Replace(deauthorized("5000000101"), `"false"`, `"true"`, 1), nil, 200},
		"garbage":     {stravaPath, `hello`, nil, 400},
		"nothing":     {stravaPath, ``, nil, 400},
		"wrong types": {stravaPath, `{"object_type":7}`, nil, 400},
		"another application": {
			path:   garminPath,
			body:   `{"deregistrations":[{"userId":"x"}]}`,
			header: []string{"garmin-client-id", "other"},
			status: 400,
		},
		"no application":       {garminPath, `{"deregistrations":[{"userId":"x"}]}`, nil, 400},
		"unknown kind":         {garminPath, `{"moveIQActivities":[{"userId":"x"}],"deregistrations":[]}`, id, 200},
		"an array":             {garminPath, `[]`, id, 400},
		"half a body":          {garminPath, `{"deregistrations":[{"userId":"x"`, id, 400},
		"a number as its user": {garminPath, `{"deregistrations":[{"userId":7}]}`, id, 200},
		"more than 10 MB":      {garminPath, `{"activities":["` + strings.Repeat("x", 10<<20) + `"]}`, id, 413},
	} {
		t.Run(name, func(t *testing.T) {
			if status := postWebhook(t, s, tt.path, tt.body, tt.header...); status != tt.status {
				t.Errorf("answered %d, want %d", status, tt.status)
			}
			if n := syncs(t, s); n != 0 {
				t.Errorf("%d syncs were enqueued", n)
			}
		})
	}
}

// Many repeats, and a large chunked body, become one job; in make race-test ten thousand, and one of seven megabytes.
func TestRaceBurstOfWebhooks(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	b.connect("garmin", "ada").to("/")
	forgetSyncs(t, s)
	rounds := testkit.Rounds(t)
	const gone = `{"deregistrations":[{"userId":"d3315b1072e84c1f9a7c1f0e5b6a9c01"}]}`
	many := `{"activities":[` + strings.Repeat(`{"userId":"someone","summaryId":"x"},`, 1000*rounds) +
		`{"userId":"someone"}],"deregistrations":[` +
		strings.Repeat(`{"userId":"d3315b1072e84c1f9a7c1f0e5b6a9c01"},`, 1000) + `{"userId":"nobody"}]}`
	inPieces := io.MultiReader(strings.NewReader(many))
	if status := tellFrom(t, s, garminPath, inPieces, "garmin-client-id", "garmin-id"); status != 200 {
		t.Errorf("a large body in pieces is answered %d", status)
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range rounds {
				if status := postWebhook(t, s, garminPath, gone, "garmin-client-id", "garmin-id"); status != 200 {
					t.Error(fmt.Sprint("answered ", status))
				}
			}
		})
	}
	wg.Wait()
	if n := syncs(t, s); n != 1 {
		t.Errorf("%d syncs were enqueued, want 1", n)
	}
}
