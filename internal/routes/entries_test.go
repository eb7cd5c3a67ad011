package routes_test

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"cairn/internal/auth"
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
	b.get("/connections").want(200, "#card-strava > #notice", "is up to date")
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
	// The job has noted the failure, and may not have ended yet.
	testkit.Eventually(t, "nothing seems to be coming", func() bool {
		return b.get("/").Find(".fetching").Length() == 0
	})
	if n := b.get("/").Find("[data-from~=foursquare]").Length(); n != 30 {
		t.Errorf("%d of the 30 that were there are left", n)
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

// Entries that may not be kept any longer are not shown, and are deleted by the next sweep or with the connection.
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
	wantKept := func(provider string, want int) {
		t.Helper()
		if more, err := s.entries.SweepEntries(t.Context()); more || err != nil {
			t.Fatalf("more %t, error %v", more, err)
		}
		n := count(t, s, `
			SELECT count(*) FROM cairn.latest l JOIN cairn.connections c USING (identity_id)
			WHERE c.provider = $1 AND entries <> '[]'`, provider)
		if n != want {
			t.Errorf("entries of %d connections to %s are kept, want %d", n, provider, want)
		}
	}
	wantKept("strava", 0)
	wantKept("garmin", 1) // because they come only once
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
	wantKept("garmin", 0)
	b.post("/connections/garmin/disconnect").to("/connections#card-garmin")
	b.post("/connections/strava/disconnect").to("/connections#card-strava")
	for _, table := range []string{"latest", "sync_requests", "pulls"} {
		if n := count(t, s, `SELECT count(*) FROM cairn.`+table); n != 0 {
			t.Errorf("%d rows are left in %s", n, table)
		}
	}
}

// Somebody who did nothing at a provider is told so in the provider's words.
func TestNothingAtTheProviderYet(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, options{works: true})
	b := signedUp(t, s, "ada@example.org")
	for _, provider := range []string{"strava", "foursquare"} {
		b.connect(provider, "ada").to("/")
		b.updated(provider)
	}
	if _, err := s.pool.Exec(t.Context(), `UPDATE cairn.latest SET entries = '[]'`); err != nil {
		t.Fatal(err)
	}
	b.get("/").want(200, "#days .none", "No activities at Strava yet.").
		want(200, "#days .none", "No check-ins at Foursquare yet.")
}

// One button refreshes all connections that can be asked. Those that were asked a moment ago are left out, and the page
// says so if nothing is left.
func TestRefreshAll(t *testing.T) {
	t.Parallel()
	limits := auth.DefaultLimits()
	limits.CallPause.Window = time.Minute // a busy machine takes longer than the usual pause
	s := newSiteWith(t, options{works: true, limits: limits})
	b := signedUp(t, s, "ada@example.org")
	b.connect("garmin", "ada").to("/") // sends by itself
	for _, provider := range []string{"strava", "foursquare"} {
		b.connect(provider, "ada").want(http.StatusSeeOther, "", "")
		b.updated(provider)
	}
	b.get("/") // takes the last notice
	b.post("/days/refresh").to("/")
	b.get("/").want(200, "#notice", "Everything is up to date")
	age := func() {
		t.Helper()
		_, err := s.pool.Exec(t.Context(), `
			UPDATE cairn.latest
			SET as_of = now() - interval '1 hour', tried_at = now() - interval '1 hour', entries = '[]'`)
		if err != nil {
			t.Fatal(err)
		}
	}
	age()
	b.post("/days/refresh").to("/")
	if b.get("/").Find("#notice").Length() > 0 {
		t.Error("the page says something although both are fetched")
	}
	testkit.Eventually(t, "both are fetched again", func() bool {
		return count(t, s, `SELECT count(*) FROM cairn.latest WHERE entries <> '[]'`) == 2
	})
	age()
	b.post("/days/refresh").want(429, "h1", "checked a moment ago")
}
