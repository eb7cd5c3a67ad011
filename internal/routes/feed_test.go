package routes

import (
	"bytes"
	"fmt"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"

	"cairn/internal/activity"
	"cairn/web"
)

// at is a time on the 24th of November 2026, a Tuesday, or days before it, in Lyon.
func at(daysAgo, hour, minute int) time.Time {
	return time.Date(2026, 11, 24-daysAgo, hour, minute, 0, 0, time.FixedZone("", 3600))
}

func entry(title string, sport activity.Sport, when time.Time, minutes int) activity.Entry {
	return activity.Entry{ID: title, Title: title, Sport: sport, At: when.UTC(), Offset: 3600, Seconds: 60 * minutes}
}

func connected(key string, entries ...activity.Entry) card {
	return card{Key: key, Name: strings.ToUpper(key[:1]) + key[1:], Connected: true, State: "active",
		Latest: &latestView{Refreshable: key != "garmin", Entries: entries}}
}

// rendered is the part of the home page that shows these cards, at half past six in the evening of the 24th.
func rendered(t testing.TB, cards []card, imperial bool) *goquery.Document {
	t.Helper()
	site, err := ReadWeb(web.Files)
	if err != nil {
		t.Fatal(err)
	}
	v := homeView{cardsView: cardsView{Cards: cards}, Feed: newFeed(cards, reader{at(0, 18, 30), imperial})}
	var body bytes.Buffer
	if err := site.pages["home"].ExecuteTemplate(&body, "days", v); err != nil {
		t.Fatal(err)
	}
	doc, err := goquery.NewDocumentFromReader(&body)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func texts(s *goquery.Selection) string {
	var all []string
	s.Each(func(_ int, one *goquery.Selection) { all = append(all, strings.TrimSpace(one.Text())) })
	return strings.Join(all, ", ")
}

// The newest day comes first, and each goes from morning to evening, by the clock of the place.
func TestOrderOfDays(t *testing.T) {
	t.Parallel()
	tokyo := entry("Tokyo Station", activity.Place, time.Date(2026, 11, 23, 22, 0, 0, 0, time.UTC), 0) // the 24th there
	tokyo.Offset, tokyo.Place = 9*3600, "Chiyoda, Japan"
	hidden := entry("Some time", activity.Gym, at(1, 0, 0), 30)
	hidden.DayOnly = true
	home := rendered(t, []card{
		connected("strava",
			entry("Evening ride", activity.Ride, at(0, 17, 0), 40), entry("Morning run", activity.Run, at(0, 7, 0), 30),
			hidden, entry("Last year", activity.Hike, at(400, 9, 0), 90)),
		connected("foursquare", tokyo, entry("Bakery", activity.Place, at(1, 8, 0), 0)),
	}, false)
	if got, want := texts(home.Find(".day h2")), "Today, Yesterday, Monday 20 October 2025"; got != want {
		t.Errorf("the days are %s, want %s", got, want)
	}
	const order = "Tokyo Station, Morning run, Evening ride, Some time, Bakery, Last year"
	if got, want := texts(home.Find(".title")), order; got != want {
		t.Errorf("the things are %s, want %s", got, want)
	}
	const about = "Tuesday 24 November · Chiyoda, Monday 23 November"
	if got, want := texts(home.Find(".day header p")), about; got != want {
		t.Errorf("the days are about %s, want %s", got, want)
	}
	if got, want := texts(home.Find(".day time")), "07:00, 07:00, 17:00, 08:00, 09:00"; got != want {
		t.Errorf("the times are %s, want %s", got, want)
	}
	if title := home.Find("time").First().AttrOr("title", ""); title != "Tuesday 24 November 2026, 07:00 UTC+9" {
		t.Errorf("in Tokyo it was %s", title)
	}
	if note := home.Find(".days > p").Text(); !strings.Contains(note, "go back to 20 October 2025") {
		t.Errorf("it says %q of how far back it goes", note)
	}
}

// An activity that two providers have is shown once, with the check-ins during it.
func TestSameActivityIsShownOnce(t *testing.T) {
	t.Parallel()
	ride := entry("Before the rain", activity.Ride, at(0, 9, 0), 150)
	ride.Elapsed, ride.Page = 3*3600, "https://www.strava.com/activities/1"
	same := entry("Lyon Cycling", activity.Ride, at(0, 9, 1), 180)
	same.Device, same.Pulse = "Garmin Edge 840", 142
	café := entry("Café du Col", activity.Place, at(0, 11, 45), 0)
	café.Kind, café.Page = "Café", "https://foursquare.com/v/1"
	later := entry("Cantine", activity.Place, at(0, 12, 0), 0)
	home := rendered(t, []card{
		connected("garmin", entry("Another", activity.Run, at(0, 15, 0), 20), same),
		connected("strava", ride),
		connected("foursquare", later, café),
	}, false)
	const order = "Before the rain, Café du Col, Cantine, Another"
	if got, want := texts(home.Find(".line > li > * .title")), order; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	one := home.Find("li[data-from='strava garmin']")
	if one.Find(".device").Text() != "Garmin Edge 840" || !strings.Contains(one.Find(".facts").Text(), "142 bpm") {
		t.Errorf("what only Garmin has is missing: %s", one.Text())
	}
	if on := one.Find(".within"); on.Length() != 1 || !strings.Contains(on.Text(), "11:45") ||
		on.Find("a[href='https://foursquare.com/v/1']").Length() != 1 {
		t.Errorf("on the way there was %q", on.Text())
	}
	if stones := home.Find(".glyph use"); stones.Length() != 4 || !stones.First().HasClass("ride") {
		t.Errorf("%d stones, want 4, and the ride at the bottom", stones.Length())
	}
}

// Names of activities and places are text, in either direction of writing.
func TestTitlesAreText(t *testing.T) {
	t.Parallel()
	odd := entry(`<b>"جولة"</b> حول البحيرة`, activity.Run, at(0, 9, 0), 30)
	odd.Kind, odd.Device, odd.Page = `<i>`, `Garmin "><script>`, `javascript:alert(1)`
	place := entry(`مقهى <الركن>`, activity.Place, at(0, 12, 0), 0)
	place.Place, place.Page = `"<u>", x`, `https://foursquare.com/v/"onload=`
	home := rendered(t, []card{connected("strava", odd, place)}, false)
	if got, want := texts(home.Find(".title bdi")), odd.Title+", "+place.Title; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if home.Find("b, i, u, script, [onload], a[href^=javascript]").Length() > 0 {
		t.Error("it is not only text")
	}
}

func TestFigures(t *testing.T) {
	t.Parallel()
	full := func(sport activity.Sport, kind string, metres float64, seconds int) activity.Entry {
		return activity.Entry{
			Sport: sport, Kind: kind, Metres: metres, Seconds: seconds, Elapsed: seconds, Climb: 1040, Pulse: 141.6,
		}
	}
	for _, tt := range []struct {
		e                activity.Entry
		metric, imperial string
	}{
		{
			full(activity.Ride, "Ride", 52_400, 9060),
			"Distance 52.4 km, Moving 2:31 h, Climbed 1,040 m, Speed 20.8 km/h",
			"Distance 32.6 mi, Moving 2:31 h, Climbed 3,412 ft, Speed 12.9 mph",
		},
		{
			full(activity.Run, "Trail run", 10_012, 3248),
			"Distance 10.0 km, Moving 54:08 min, Pace 5:24 /km, Climbed 1,040 m",
			"Distance 6.2 mi, Moving 54:08 min, Pace 8:42 /mi, Climbed 3,412 ft",
		},
		{
			full(activity.Swim, "Swim", 2000, 2480),
			"Distance 2,000 m, Moving 41:20 min, Pace 2:04 /100 m, Heart rate 142 bpm",
			"Distance 2,187 yd, Moving 41:20 min, Pace 1:53 /100 yd, Heart rate 142 bpm",
		},
		{
			full(activity.Hike, "Walk", 800, 900),
			"Distance 800 m, Moving 15:00 min, Climbed 1,040 m, Heart rate 142 bpm",
			"Distance 0.5 mi, Moving 15:00 min, Climbed 3,412 ft, Heart rate 142 bpm",
		},
		{activity.Entry{Sport: activity.Gym, Seconds: 59}, "Time 0:59 min", "Time 0:59 min"},
		{activity.Entry{Sport: activity.Run, Metres: 5, Seconds: 86_400, Pulse: 9000}, "Distance 5 m, Time 24:00 h",
			"Distance 16 ft, Time 24:00 h"},
		{activity.Entry{Sport: activity.Ride}, "", ""},
	} {
		for imperial, want := range map[bool]string{false: tt.metric, true: tt.imperial} {
			var got []string
			for _, f := range factsOf(tt.e, imperial) {
				got = append(got, f.Label+" "+f.Value+" "+f.Unit)
			}
			if all := strings.Join(got, ", "); all != want {
				t.Errorf("%s: got %s, want %s", tt.e.Kind, all, want)
			}
		}
	}
}

// This week is summed up from Monday on, unless some of it may be missing.
func TestThisWeek(t *testing.T) {
	t.Parallel()
	run := entry("Run", activity.Run, at(1, 9, 0), 41)
	run.Metres = 8000
	ride := entry("Ride", activity.Ride, at(0, 9, 0), 151)
	ride.Metres = 46_400
	cards := []card{
		connected("strava", ride, run, entry("Sunday", activity.Run, at(2, 9, 0), 500)),
		connected("foursquare", entry("Café", activity.Place, at(0, 8, 0), 0)),
	}
	week := rendered(t, cards, false).Find(".week")
	if got, want := texts(week.Find(".facts div")), "Moving3:12 h, Distance54.4 km, Places1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	label := week.Find("svg").AttrOr("aria-label", "")
	if label != "Time in motion this week: Monday 41:00 min, Tuesday 2:31 h" ||
		week.Find("rect:not(.dim)").Length() != 2 {
		t.Errorf("the chart says %q", label)
	}
	if on := week.Find("text.on").Text(); on != "T" {
		t.Errorf("today is %q", on)
	}
	cards[0].Latest.Full = true
	if rendered(t, cards, false).Find(".week").Length() != 1 {
		t.Error("the week is left out, although older entries are kept")
	}
	cards[0].Latest.Entries = cards[0].Latest.Entries[:2]
	if rendered(t, cards, false).Find(".week").Length() != 0 {
		t.Error("a week of which some may be missing is summed up")
	}
	old := []card{connected("strava", entry("Sunday", activity.Run, at(2, 9, 0), 500))}
	if rendered(t, old, false).Find(".week").Length() != 0 {
		t.Error("a week without anything is summed up")
	}
}

// The figures of the week have the credits that are due for what they are made of.
func TestWeekHasCredits(t *testing.T) {
	t.Parallel()
	ride, swim := entry("Ride", activity.Ride, at(0, 9, 0), 60), entry("Swim", activity.Swim, at(0, 12, 0), 30)
	swim.Device = "Garmin Forerunner 965"
	same, sunday := entry("Ride", activity.Ride, at(0, 9, 1), 60), entry("Ride", activity.Ride, at(2, 9, 0), 60)
	same.Device, sunday.Device = "Garmin Edge 840", "Garmin Edge 530"
	strava := func(entries ...activity.Entry) card {
		c := connected("strava", entries...)
		c.Attribution = "Powered by Strava"
		return c
	}
	for _, tt := range []struct {
		cards []card
		want  string
	}{
		{[]card{connected("garmin", same, swim), strava(ride)},
			"Garmin Edge 840 · Garmin Forerunner 965 · Powered by Strava"},
		{[]card{connected("garmin", swim), strava(sunday)}, "Garmin Forerunner 965"},
		{[]card{connected("other", ride)}, ""},
	} {
		if got := texts(rendered(t, tt.cards, false).Find(".week > p")); got != tt.want {
			t.Errorf("the credits are %q, want %q", got, tt.want)
		}
	}
}

// weeks are as many entries as a home page can have.
func weeks() []card {
	var strava, garmin, foursquare []activity.Entry
	route := &activity.Drawing{Path: "M36 636l" + strings.Repeat("12-7 3 14 ", 60) + "1 1", Width: 672, Height: 672}
	for i := range 30 {
		ride := entry(fmt.Sprintf("Ride %d", i), activity.Ride, at(i, 9, 0), 100)
		ride.Kind, ride.Metres, ride.Climb, ride.Pulse, ride.Elapsed = "Gravel ride", 40_000, 500, 140, 9000
		ride.Route = route
		ride.Page = "https://www.strava.com/activities/16181800001"
		swim := entry(fmt.Sprintf("Swim %d", i), activity.Swim, at(i, 18, 0), 40)
		swim.Kind, swim.Metres, swim.Device = "Lap swimming", 2000, "Garmin Forerunner 965"
		café := entry("Café Exemple", activity.Place, at(i, 13, 0), 0)
		café.Kind, café.Place, café.Page = "Café", "Lyon, France", "https://foursquare.com/v/5000000000000000000000"
		strava, garmin, foursquare = append(strava, ride), append(garmin, swim), append(foursquare, café)
	}
	return []card{
		connected("garmin", garmin...), connected("foursquare", foursquare...), connected("strava", strava...),
	}
}

// BenchmarkHome makes the feed of 90 entries and renders the home page with it.
func BenchmarkHome(b *testing.B) {
	site, err := ReadWeb(web.Files)
	if err != nil {
		b.Fatal(err)
	}
	cards := weeks()
	defer debug.SetGCPercent(debug.SetGCPercent(100)) // as in a server: dbtest.Run collects less often
	b.ReportAllocs()
	var body bytes.Buffer
	for b.Loop() {
		body.Reset()
		v := homeView{
			cardsView: cardsView{view: view{User: &viewer{"Ada"}}, Cards: cards},
			Feed:      newFeed(cards, reader{at(0, 18, 30), false}),
		}
		if err := site.pages["home"].ExecuteTemplate(&body, "layout", inLayout(v)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(body.Len()), "bytes/page")
}

// "Today" is by the clock of the last place if the person's zone is not known.
func TestTodayWithoutAZoneIsThePlaces(t *testing.T) {
	t.Parallel()
	cards := []card{connected("strava",
		entry("Night ride", activity.Ride, at(-1, 0, 20), 10), entry("Ride", activity.Ride, at(0, 9, 0), 10))}
	f := newFeed(cards, reader{at(-1, 0, 30).UTC(), false})
	if len(f.Days) != 2 || f.Days[0].Name != "Today" || f.Days[1].Name != "Yesterday" {
		t.Errorf("got %+v", f.Days)
	}
}
