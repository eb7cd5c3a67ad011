package routes_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"cairn/internal/sandbox"
	"cairn/internal/testkit"
)

// A webhook that comes while the provider answers causes another fetch.
func TestWebhookDuringAnAnswer(t *testing.T) {
	t.Parallel()
	answered, release := make(chan struct{}, 10), make(chan struct{})
	s := newSiteWith(t, options{works: true, hooked: true, heard: func(simulated http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, "/athlete/activities") {
				simulated.ServeHTTP(w, r)
				return
			}
			answer := httptest.NewRecorder()
			simulated.ServeHTTP(answer, r)
			answered <- struct{}{}
			<-release
			maps.Copy(w.Header(), answer.Header())
			w.WriteHeader(answer.Code)
			_, _ = w.Write(answer.Body.Bytes())
		})
	}})
	b := signedUp(t, s, "ada@example.org")
	b.connect("strava", "ada").to("/")
	<-answered
	outing(t, s, "ada", "while it answered")
	testkit.Eventually(t, "the webhook has arrived", func() bool {
		return count(t, s, `SELECT count(*) FROM cairn.sync_requests WHERE number > 1`) == 1
	})
	close(release)
	b.shows(newest+" .title", "while it answered")
}

// No webhook is lost between two instances whose jobs begin and end meanwhile.
func TestRaceNoWebhookIsLost(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	s := newSiteWith(t, options{works: true, hooked: true})
	newSiteWith(t, options{pool: s.pool, works: true})
	if err := s.sandbox.SetSwitch(t.Context(), sandbox.Garmin, sandbox.ActivitiesBy, sandbox.Ping); err != nil {
		t.Fatal(err)
	}
	b := signedUp(t, s, "ada@example.org")
	b.connect("garmin", "ada").to("/")
	for range testkit.Rounds(t) {
		var outings sync.WaitGroup
		for range 3 {
			outings.Go(func() { outing(t, s, "ada", "one of many") })
		}
		outings.Wait()
		testkit.Eventually(t, "all addresses were fetched", func() bool {
			return count(t, s, `SELECT count(*) FROM cairn.pulls`) == 0
		})
	}
	awaitSyncs(t, s)
	if n := count(t, s, `SELECT count(*) FROM cairn.sync_requests`); n != 0 {
		t.Errorf("%d sync requests are left without a job", n)
	}
}

// Garmin's posts are believed only about people who have connected it. An address elsewhere is
// never asked, and one that is refused says nothing about the connection.
func TestGarminPostsThatAreNotGarmins(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, options{works: true})
	var asked atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(elsewhere.Close)
	b := signedUp(t, s, "ada@example.org")
	b.connect("garmin", "ada", "ACTIVITY_EXPORT").to("/")
	awaitSyncs(t, s)
	const ada = "d3315b1072e84c1f9a7c1f0e5b6a9c01"
	item := func(fields string) string { return `{"activities":[{"userId":"` + ada + `",` + fields + `}]}` }
	there := strings.Replace(s.url, "localhost", "127.0.0.1", 1) + "/sandbox/garmin"
	for name, body := range map[string]string{
		"someone else":       `{"activities":[{"userId":"nobody","summaryId":"1","startTimeInSeconds":1760770192}]}`,
		"another host":       item(`"callbackURL":"` + elsewhere.URL + `/wellness-api/rest/activities?token=x"`),
		"a token of no use":  item(`"callbackURL":"` + there + `/wellness-api/rest/activities?token=x"`),
		"no time":            item(`"summaryId":"1"`),
		"a time of no use":   item(`"summaryId":"1","startTimeInSeconds":99999999999999`),
		"wrong types":        item(`"summaryId":7,"startTimeInSeconds":"x"`),
		"a part of another":  item(`"summaryId":"1","parentSummaryId":"2","startTimeInSeconds":1760770192`),
		"not even an object": `{"activities":[7,null,[]]}`,
	} {
		if status := postWebhook(t, s, garminPath, body, "garmin-client-id", "garmin-id"); status != 200 {
			t.Errorf("%s: answered %d", name, status)
		}
	}
	awaitSyncs(t, s)
	if n := asked.Load(); n > 0 {
		t.Errorf("another host was asked %d times", n)
	}
	home := b.get("/").want(200, "#days .none", "as soon as your watch has synced")
	if home.Find("[data-from~=garmin]").Length() != 0 {
		t.Error("something is shown")
	}
	odd := item(`"durationInSeconds":"a while"},` +
		`{"userId":"` + ada + `","summaryId":"7",` +
		`"startTimeInSeconds":1760770192,"startTimeOffsetInSeconds":-12600,"activityType":"CROSS_COUNTRY_SKIING",` +
		`"activityName":"<b>\u0000bold</b>\u202e","durationInSeconds":3725.6,"distanceInMeters":-4`)
	for range 2 { // a repeat
		if status := postWebhook(t, s, garminPath, odd, "garmin-client-id", "garmin-id"); status != 200 {
			t.Errorf("answered %d", status)
		}
	}
	shown := b.get("/").Find("[data-from~=garmin]")
	if shown.Length() != 1 || shown.Find("b").Length() > 0 {
		t.Fatalf("got %d entries", shown.Length())
	}
	for selector, want := range map[string]string{
		".title":  "<b>bold</b>",
		".device": "Garmin",
		".kind":   "Cross country skiing",
		".facts":  "Time1:02 h",
		"time":    "03:19",
	} {
		if got := shown.Find(selector).Text(); got != want {
			t.Errorf("%s is %q, want %q", selector, got, want)
		}
	}
	if got := shown.Find("time").AttrOr("title", ""); got != "Saturday 18 October 2025, 03:19 UTC−3:30" {
		t.Errorf("it was at %q", got)
	}
	b.get("/").want(200, ".day h2", "Saturday 18 October 2025")
}

// Ten thousand people's activities in one post are stored before the answer.
func TestManyActivitiesAtOnce(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	b.connect("garmin", "ada").to("/")
	_, err := s.pool.Exec(t.Context(), `
		WITH users AS (
			INSERT INTO cairn.users (display_name) SELECT 'u' || n FROM generate_series(1, 2000) n RETURNING id),
		ways AS (
			INSERT INTO cairn.identities (user_id, provider, subject)
			SELECT id, 'garmin', 'garmin-' || row_number() OVER () FROM users RETURNING id, user_id)
		INSERT INTO cairn.connections
			(identity_id, user_id, provider, account_name, picture_url, granted, sealed_tokens, cause)
		SELECT id, user_id, 'garmin', '', '', '{}', '', 'connected' FROM ways`)
	if err != nil {
		t.Fatal(err)
	}
	var body strings.Builder
	body.WriteString(`{"activities":[`)
	for i := range 10_000 {
		fmt.Fprintf(&body, `{"userId":"garmin-%d","summaryId":"%d","startTimeInSeconds":%d},`,
			i%2000+1, i, 1760770192+i)
	}
	body.WriteString(`{"userId":"garmin-1","summaryId":"last","startTimeInSeconds":1770000000}]}`)
	var posts sync.WaitGroup
	for range 3 { // repeats, at the same time
		posts.Go(func() {
			status := postWebhook(t, s, garminPath, body.String(), "garmin-client-id", "garmin-id")
			if status != http.StatusOK {
				t.Errorf("answered %d", status)
			}
		})
	}
	posts.Wait()
	if n := count(t, s, `SELECT count(*) FROM cairn.latest WHERE jsonb_array_length(entries) >= 5`); n != 2000 {
		t.Errorf("%d people have their five entries, want 2000", n)
	}
	if n := count(t, s, `SELECT count(*) FROM cairn.latest WHERE entries->0->>'id' = 'last'`); n != 1 {
		t.Error("the newest is not first")
	}
}

// Refresh works when background work has used up its share of the budget and waits for the next quarter
// of an hour.
func TestRefreshHasItsOwnShareOfTheBudget(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, options{works: true})
	b := signedUp(t, s, "ada@example.org")
	b.connect("strava", "ada").to("/")
	b.updated("strava")
	fetched := func() int {
		requests, err := s.sandbox.Requests(t.Context(), "strava")
		if err != nil {
			t.Fatal(err)
		}
		return requests[sandbox.Data]
	}
	exec := func(sql string) {
		if _, err := s.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	const longAgo = `UPDATE cairn.latest SET as_of = now() - interval '1 hour', tried_at = now() - interval '1 hour'`
	exec(longAgo)
	exec(`UPDATE cairn.budgets SET day = date_bin('1 day', now(), 'epoch'), day_used = 600 WHERE provider = 'strava'`)
	before := fetched()
	event := `{"object_type":"activity","object_id":1,"aspect_type":"create","owner_id":5000000101,"subscription_id":1}`
	status := postWebhook(t, s, "/webhooks/strava/"+webhookKey, event, "Content-Type", "application/json")
	if status != http.StatusOK {
		t.Fatalf("the webhook was answered %d", status)
	}
	testkit.Eventually(t, "background work waits", func() bool {
		return count(t, s, `
			SELECT count(*) FROM cairn.river_job
			WHERE kind = 'revisit' AND state = 'scheduled' AND scheduled_at > now() + interval '20 seconds'`) == 1
	})
	if n := fetched() - before; n != 0 {
		t.Errorf("background work had Strava asked %d times", n)
	}
	exec(longAgo)
	b.post("/connections/strava/refresh").to("/connections#card-strava")
	testkit.Eventually(t, "what was asked for is fetched", func() bool { return fetched() == before+1 })
}
