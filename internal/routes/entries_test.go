package routes_test

import (
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"cairn/internal/sandbox"
	"cairn/internal/testkit"
)

// shows waits until an element of the home page has a text.
func (b browser) shows(selector, text string) {
	b.t.Helper()
	testkit.Eventually(b.t, fmt.Sprintf("%s shows %q", selector, text), func() bool {
		return strings.Contains(b.get("/").Find(selector).Text(), text)
	})
}

// updated waits until a provider's entries have come.
func (b browser) updated(provider string) {
	b.t.Helper()
	testkit.Eventually(b.t, provider+" is updated", func() bool {
		card := b.get("/connections").Find("#card-" + provider)
		return card.Find(".asof").Length() == 1 && card.Find(".fetching").Length() == 0
	})
}

// outing adds an activity with a title to look for, and returns its id.
func outing(t *testing.T, s site, person, title string) int64 {
	t.Helper()
	id, err := s.sandbox.NewActivity(t.Context(), person)
	if err == nil {
		// Two posts about one activity may overtake each other, and neither says which is the newer.
		testkit.Eventually(t, "the webhooks are delivered", func() bool {
			return count(t, s, `SELECT count(*) FROM cairn_sandbox.deliveries WHERE tries = 0`) == 0
		})
		err = s.sandbox.ChangeActivity(t.Context(), person, id, sandbox.ActivityChange{Title: &title})
	}
	if err != nil {
		t.Fatal(err)
	}
	return id
}

var (
	someWhen  = regexp.MustCompile(`^\w+day \d{1,2} \w+ \d{4}, \d\d:\d\d UTC[+−]\d{1,2}$`)
	someClock = regexp.MustCompile(`^\d\d:\d\d$`)
	someRoute = regexp.MustCompile(`^M\d+ \d+l-?\d+( \d+|-\d+)+$`)
)

// testLatestWithoutEntries checks that pages which show no entries get all else that is kept.
func testLatestWithoutEntries(t *testing.T, s site) {
	t.Helper()
	user := int64(count(t, s, `SELECT id FROM cairn.users`))
	whole, err := s.entries.Of(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	without, err := s.entries.WithoutEntries(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	for provider, kept := range whole {
		got := without[provider]
		if len(kept.Entries) == 0 || len(got.Entries) != 0 || !got.AsOf.Equal(kept.AsOf) {
			t.Errorf("%s: %d entries as of %v, want none of the %d as of %v",
				provider, len(got.Entries), got.AsOf, len(kept.Entries), kept.AsOf)
		}
	}
	if len(whole) != 3 {
		t.Errorf("%d connections, want 3", len(whole))
	}
}

// newest is the thing that began last.
const newest = ".day:first-of-type .line > li:last-child"

// Connecting brings the newest entries of each provider, with the credits that it asks for.
func TestLatestOfEachProvider(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, options{works: true, hooked: true})
	b := signedUp(t, s, "ada@example.org")
	outing(t, s, "ada", "Between two rivers") // the first that is added goes outdoors, so there is a route
	for _, provider := range []string{"strava", "foursquare", "garmin"} {
		b.connect(provider, "ada").to("/")
	}
	for _, provider := range []string{"strava", "foursquare", "garmin"} {
		testkit.Eventually(t, provider+" shows its entries", func() bool {
			return b.get("/").Find("[data-from~="+provider+"]").Length() > 10
		})
	}
	testkit.Eventually(t, "the page does not load itself any more", func() bool {
		return b.get("/").Find("meta[http-equiv=refresh], .fetching").Length() == 0
	})
	home := b.get("/")
	if home.Find("[style]").Length() > 0 {
		t.Error("the page has style attributes, which the CSP forbids")
	}
	strava := home.Find("li[data-from~=strava]")
	link := strava.Find(".via a").First()
	to := link.AttrOr("href", "")
	if !strings.HasPrefix(to, "https://www.strava.com/activities/") || link.Text() != "View on Strava" {
		t.Errorf("the link to Strava is %q to %q", link.Text(), to)
	}
	if path := strava.Find("svg.land path.trace").AttrOr("d", ""); !someRoute.MatchString(path) {
		t.Errorf("the route is %q", path)
	}
	first := strava.Find("article.mapped").First()
	for selector, want := range map[string]string{
		".kind": "", ".facts": "km", "dt:first-child": "Distance", "time": ":",
	} {
		if text := first.Find(selector).Text(); text == "" || !strings.Contains(text, want) {
			t.Errorf("an activity's %s is %q, want %q in it", selector, text, want)
		}
	}
	when := strava.Find("time").First()
	if !someWhen.MatchString(when.AttrOr("title", "")) || !someClock.MatchString(when.Text()) {
		t.Errorf("the time is %q, exactly %q", when.Text(), when.AttrOr("title", ""))
	}
	foursquare := home.Find("[data-from=foursquare]")
	text := foursquare.Text()
	if !strings.Contains(text, "Lyon, France") && !strings.Contains(text, "千代田区, 日本") {
		t.Errorf("no city in %q", text)
	}
	venue := foursquare.Find(".title a").First()
	at := venue.AttrOr("href", "")
	if !strings.HasPrefix(at, "https://foursquare.com/v/") || strings.Contains(venue.AttrOr("rel", ""), "nofollow") {
		t.Errorf("the venue is at %q", at)
	}
	garmin := home.Find("li[data-from~=garmin]")
	devices := garmin.Find(".device")
	if devices.Length() != garmin.Length() || devices.First().Text() != "Garmin Forerunner 965" {
		t.Error("Garmin's device is not named beside each activity")
	}
	if both := home.Find("li[data-from='strava garmin']").Length(); both < 10 || both < garmin.Length()-1 {
		t.Errorf("%d of Garmin's %d activities are Strava's too, which are the same", both, garmin.Length())
	}
	for _, page := range []answer{home, b.get("/connections")} {
		page.want(200, ".attributions", "Powered by Strava").want(200, ".attributions", "Places by Foursquare")
	}
	testLatestWithoutEntries(t, s)
	updated := b.get("/connections").Find("#card-strava .asof time").AttrOr("title", "")
	if !strings.HasSuffix(updated, " UTC") {
		t.Errorf("the card says that it was updated at %q", updated)
	}
}

// New, changed and deleted activities show without a click.
func TestLatestFollowsTheProviders(t *testing.T) {
	t.Parallel()
	for _, by := range []string{sandbox.Push, sandbox.Ping} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			s := newSiteWith(t, options{works: true, hooked: true})
			if err := s.sandbox.SetSwitch(t.Context(), sandbox.Garmin, sandbox.ActivitiesBy, by); err != nil {
				t.Fatal(err)
			}
			b := signedUp(t, s, "ada@example.org")
			b.connect("strava", "ada").to("/")
			b.connect("garmin", "ada").to("/")
			id := outing(t, s, "ada", "Up the hill & down")
			b.shows(newest+"[data-from='strava garmin'] .title", "Up the hill & down")
			if err := s.sandbox.DeleteActivity(t.Context(), "ada", id); err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, "Strava's is gone", func() bool {
				return !strings.Contains(b.get("/").Find("[data-from~=strava]").Text(), "Up the hill")
			})
			testkit.Eventually(t, "no address is kept", func() bool {
				return count(t, s, `SELECT count(*) FROM cairn.pulls`) == 0
			})
			b.get("/connections").want(200, "#card-garmin[data-state=active]", "")
		})
	}
}

func TestCheckinIsPushed(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, options{works: true, hooked: true})
	b := signedUp(t, s, "ada@example.org")
	b.connect("foursquare", "ada").to("/")
	b.updated("foursquare")
	id, err := s.sandbox.NewCheckin(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it is on the card", func() bool {
		return count(t, s, `SELECT count(*) FROM cairn.latest WHERE entries->0->>'id' = $1`, id) == 1
	})
	push := func(form url.Values) int {
		return postWebhook(t, s, "/webhooks/foursquare/"+webhookKey, form.Encode(),
			"Content-Type", "application/x-www-form-urlencoded")
	}
	checkin := `{"id":"x","user":{"id":"1234567"}}`
	forgetSyncs(t, s)
	for _, tt := range []struct {
		form          url.Values
		status, syncs int
	}{
		{url.Values{"checkin": {checkin}, "secret": {"wrong"}}, 403, 0},
		{url.Values{"checkin": {`{"user":`}}, 400, 0},
		{url.Values{"checkin": {`{"user":{"id":"nobody"}}`}}, 200, 0},
		{url.Values{"checkin": {checkin}, "secret": {"push-s3cr3t"}}, 200, 1},
		{url.Values{"checkin": {`{}`}, "user": {`{"id":"1234567"}`}}, 200, 1},
	} {
		if status := push(tt.form); status != tt.status || syncs(t, s) < tt.syncs || tt.syncs == 0 && syncs(t, s) > 0 {
			t.Errorf("%v: status %d and %d syncs, want %d and %d", tt.form, status, syncs(t, s), tt.status, tt.syncs)
		}
	}
}

// A person who refreshes sees the progress, and the notice of the last page is not lost meanwhile.
func TestRefreshShowsItsProgress(t *testing.T) {
	t.Parallel()
	idle := newSite(t)
	b := signedUp(t, idle, "ada@example.org")
	b.connect("strava", "ada").to("/")
	// This is the script's request, which leaves the notice.
	b.get("/connections/now").want(200, "#card-strava .fetching", "Fetching")
	b.get("/days/now").has(".fetching[data-source=Strava]").want(200, "#days", "Fetching the newest from Strava")
	b.get("/connections").want(200, "#notice", "Strava is connected")
	looks := "/connections?looks=1"
	meta := regexp.MustCompile(`<noscript><meta http-equiv="refresh" content="5; url=(/connections[^"#]*)"></noscript>`)
	for i := range 7 {
		a := b.get(looks).
			want(200, "#card-strava .fetching", "Fetching").
			want(200, "#connections[data-fetching='/connections/now'] .more a[href='/connections']", "Show")
		if a.Find("#notice").Length() > 0 || a.Find("form[action='/connections/strava/refresh']").Length() > 0 {
			t.Error("the page shows the notice twice, or offers a refresh during one")
		}
		reload := meta.FindStringSubmatch(a.body)
		if last := i >= 5; last != (reload == nil) || last != (a.Find(".more[hidden]").Length() == 0) {
			t.Fatalf("after %d looks, the page looks again at %q", i+1, reload)
		}
		if reload != nil {
			looks = html.UnescapeString(reload[1])
		}
	}
	for _, odd := range []string{"-1", "7", "x", "99999999999999999999"} {
		if strings.Contains(b.get("/connections?looks="+odd).body, "http-equiv") {
			t.Errorf("the page looks again although it has looked %q times", odd)
		}
	}
	newSiteWith(t, options{pool: idle.pool, works: true})
	b.updated("strava")
	b.get("/connections").want(200, "#card-strava form[action='/connections/strava/refresh']", "Refresh")
	b.post("/connections/strava/refresh").to("/connections#card-strava")
	b.get("/connections").want(200, "#card-strava > #notice", "what you see is the newest")
	for _, sql := range []string{
		`UPDATE cairn.latest
		SET as_of = now() - interval '1 hour', tried_at = now() - interval '1 hour', entries = '[]'`,
		// A sync that was put off until later does not delay a refresh.
		`UPDATE cairn.river_job SET state = 'retryable', finalized_at = NULL, scheduled_at = now() + interval '2 hours'
		WHERE kind = 'revisit'`,
	} {
		if _, err := idle.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	b.post("/connections/strava/refresh").to("/connections#card-strava")
	testkit.Eventually(t, "it is there", func() bool {
		return b.get("/").Find("[data-from~=strava]").Length() == 30
	})
	b.post("/connections/garmin/refresh").want(404, "h1", "")
	b.post("/connections/foursquare/refresh").want(404, "h1", "")
}

// If a provider can't be reached, the entries stay, the card says so, and they are fetched later.
func TestLatestOutlivesAnOutage(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, options{works: true})
	b := signedUp(t, s, "ada@example.org")
	b.connect("foursquare", "ada").to("/")
	b.updated("foursquare")
	if err := s.sandbox.SetSwitch(t.Context(), sandbox.Foursquare, sandbox.API, "500"); err != nil {
		t.Fatal(err)
	}
	old := func() {
		_, err := s.pool.Exec(t.Context(), `
			UPDATE cairn.latest SET as_of = now() - interval '1 hour', tried_at = now() - interval '1 hour'`)
		if err != nil {
			t.Fatal(err)
		}
	}
	old()
	b.post("/connections/foursquare/refresh").to("/connections#card-foursquare")
	testkit.Eventually(t, "the card says it", func() bool {
		return b.get("/connections").Find("#card-foursquare[data-state=degraded]").Length() == 1
	})
	home := b.get("/")
	if home.Find("[data-from~=foursquare]").Length() != 30 || home.Find(".fetching").Length() > 0 {
		t.Error("what was there is gone, or it seems to be coming")
	}
	if err := s.sandbox.SetSwitch(t.Context(), sandbox.Foursquare, sandbox.API, sandbox.ModeNone); err != nil {
		t.Fatal(err)
	}
	old()
	b.post("/connections/foursquare/refresh").to("/connections#card-foursquare")
	testkit.Eventually(t, "all is well again", func() bool {
		return b.get("/connections").Find("#card-foursquare[data-state=active]").Length() == 1
	})
}

// Entries that may not be kept any longer are not shown, and are deleted by the next reconcile or with the connection.
func TestLatestIsNotKeptForEver(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, options{works: true, hooked: true})
	b := signedUp(t, s, "ada@example.org")
	b.connect("strava", "ada").to("/")
	b.connect("garmin", "ada").to("/")
	for _, provider := range []string{"strava", "garmin"} {
		testkit.Eventually(t, provider+" shows its entries", func() bool {
			return b.get("/").Find("[data-from~="+provider+"]").Length() > 10
		})
	}
	if _, err := s.pool.Exec(t.Context(), `UPDATE cairn.latest SET as_of = now() - interval '8 days'`); err != nil {
		t.Fatal(err)
	}
	if n := b.get("/").Find("[data-from~=strava]").Length(); n != 0 {
		t.Errorf("%d of Strava's are shown after eight days", n)
	}
	if n := b.get("/").Find("[data-from~=garmin]").Length(); n < 10 {
		t.Errorf("%d of Garmin's are shown after eight days", n)
	}
	look := func() {
		_, err := s.pool.Exec(t.Context(), `
			INSERT INTO cairn.river_job (kind, queue, args, max_attempts, priority, state, scheduled_at)
			VALUES ('look', 'default', '{}', 3, 1, 'available', now())`)
		if err != nil {
			t.Fatal(err)
		}
	}
	look()
	kept := `
		SELECT count(*) FROM cairn.latest l JOIN cairn.connections c USING (identity_id)
		WHERE c.provider = $1 AND entries <> '[]'`
	testkit.Eventually(t, "Strava's are gone", func() bool { return count(t, s, kept, "strava") == 0 })
	if count(t, s, kept, "garmin") != 1 {
		t.Error("Garmin's are gone too, and come only once")
	}
	grants, err := s.sandbox.Grants(t.Context(), sandbox.Garmin)
	if err != nil || len(grants) != 1 {
		t.Fatalf("%d grants, error %v", len(grants), err)
	}
	if err := s.sandbox.SetPermissions(t.Context(), grants[0].ID, "HEALTH_EXPORT"); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "what is not permitted any more is not shown", func() bool {
		return b.get("/").Find("[data-from~=garmin]").Length() == 0 &&
			b.get("/connections").Find("#card-garmin[data-state=limited]").Length() == 1
	})
	look()
	testkit.Eventually(t, "and not kept", func() bool { return count(t, s, kept, "garmin") == 0 })
	b.post("/connections/garmin/disconnect").to("/connections#card-garmin")
	b.post("/connections/strava/disconnect").to("/connections#card-strava")
	for _, table := range []string{"latest", "sync_requests", "pulls"} {
		if n := count(t, s, `SELECT count(*) FROM cairn.`+table); n != 0 {
			t.Errorf("%d rows are left in %s", n, table)
		}
	}
}

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
	testkit.Eventually(t, "the hint is there", func() bool {
		return count(t, s, `SELECT count(*) FROM cairn.sync_requests WHERE number > 1`) == 1
	})
	close(release)
	b.shows(newest+" .title", "while it answered")
}

// No webhook is lost between two instances whose jobs begin and end meanwhile.
func TestNoWebhookIsLost(t *testing.T) {
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
