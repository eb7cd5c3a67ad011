package routes

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"cairn/internal/activity"
)

// feed is what a person did: the newest day first, and each day from morning to evening. Days are in the local time
// of the place.
type feed struct {
	Days  []dayView
	Week  *weekView // nil: nothing this week, or some of it may be missing
	Since string    // the first day; "": there is none
}

type dayView struct {
	ID     string // "d2026-11-24"
	Name   string // "Today", "Sunday 22 November"
	About  string // "Tuesday 24 November · Lyon"
	Cairn  template.HTML
	Things []thing
}

// thing is an activity, or a check-in outside of one.
type thing struct {
	From    string // keys of the providers that have it
	Place   bool   // it is a check-in
	Sport   string
	Icon    string
	Kind    string
	Title   string
	Where   string
	When    template.HTML // "": the person hides the time
	Private bool
	Device  string
	Facts   template.HTML
	Route   template.HTML
	Within  []thing // check-ins during it
	Page    string
	ViewOn  string // the provider's name
}

// found is an entry with where it came from.
type found struct {
	activity.Entry
	from, name string // the provider's key and name
	alsoFrom   string // of the same activity
	day        string // "2026-11-24", of the place
}

func (f found) place() bool { return f.Sport == activity.Place }

// reader is the person who reads a feed.
type reader struct {
	now      time.Time // by their clock
	imperial bool
}

// newFeed arranges what is kept in days.
func newFeed(cards []card, r reader) feed {
	entries := together(cards)
	if len(entries) > 0 && r.now.Location() == time.UTC { // the zone is not known: use the last place's
		r.now = r.now.In(entries[len(entries)-1].Local().Location())
	}
	var f feed
	for i := len(entries); i > 0; {
		last := entries[i-1].day
		first := i - 1
		for first > 0 && entries[first-1].day == last {
			first--
		}
		f.Days = append(f.Days, newDay(entries[first:i], r))
		i = first
	}
	if len(entries) > 0 {
		f.Since = entries[0].Local().Format("2 January 2006")
		f.Week = newWeek(cards, entries, r)
	}
	return f
}

// together returns all entries in order. An activity that two providers have is in it once.
func together(cards []card) []found {
	var all []found
	for _, c := range cards {
		if c.Latest == nil {
			continue
		}
		all = slices.Grow(all, len(c.Latest.Entries))
		for _, e := range c.Latest.Entries {
			all = append(all, found{Entry: e, from: c.Key, name: c.Name, day: e.Local().Format(time.DateOnly)})
		}
	}
	slices.SortStableFunc(all, func(a, b found) int {
		return cmp.Or(strings.Compare(a.day, b.day), a.At.Compare(b.At))
	})
	merged := all[:0]
	for _, f := range all {
		if i := slices.IndexFunc(merged[max(0, len(merged)-4):], f.sameAs); i >= 0 {
			i += max(0, len(merged)-4)
			merged[i] = merged[i].merged(f)
			continue
		}
		merged = append(merged, f)
	}
	return merged
}

// sameAs reports whether two providers have the same activity: they began within two minutes.
func (f found) sameAs(other found) bool {
	return !f.place() && !other.place() && !f.DayOnly && !other.DayOnly &&
		f.from != other.from && other.alsoFrom == "" && f.At.Sub(other.At).Abs() <= 2*time.Minute
}

// merged keeps the entry that has a page at its provider, and adds what only the other one has.
func (f found) merged(other found) found {
	if f.Page == "" && other.Page != "" {
		f, other = other, f
	}
	f.alsoFrom = other.from
	f.Device = cmp.Or(f.Device, other.Device)
	f.Climb, f.Pulse = cmp.Or(f.Climb, other.Climb), cmp.Or(f.Pulse, other.Pulse)
	f.Elapsed = cmp.Or(f.Elapsed, other.Elapsed)
	if f.Route == nil {
		f.Route = other.Route
	}
	return f
}

func newDay(entries []found, r reader) dayView {
	local := entries[0].Local()
	d := dayView{ID: "d" + entries[0].day, Cairn: cairnOf(entries), Things: make([]thing, 0, len(entries))}
	date, places := local.Format("Monday 2 January"), citiesOf(entries)
	if local.Year() != r.now.Year() {
		date = local.Format("Monday 2 January 2006")
	}
	switch entries[0].day {
	case r.now.Format(time.DateOnly):
		d.Name, d.About = "Today", date
	case r.now.AddDate(0, 0, -1).Format(time.DateOnly):
		d.Name, d.About = "Yesterday", date
	default:
		d.Name = date
	}
	d.About = dotted(d.About, places)
	d.add(entries, r)
	return d
}

// add makes things of a day's entries. A check-in during an activity belongs to that.
func (d *dayView) add(entries []found, r reader) {
	var underWay found
	host := -1
	for _, f := range entries {
		if t := thingOf(f, r); f.place() && host >= 0 && f.At.Before(underWay.End()) {
			d.Things[host].Within = append(d.Things[host].Within, t)
		} else {
			d.Things = append(d.Things, t)
		}
		if !f.place() && !f.DayOnly && (host < 0 || f.End().After(underWay.End())) {
			underWay, host = f, len(d.Things)-1
		}
	}
}

// citiesOf names the cities of a day's check-ins, up to three.
func citiesOf(entries []found) string {
	var cities []string
	for _, f := range entries {
		city, _, _ := strings.Cut(f.Place, ", ")
		if f.place() && city != "" && !slices.Contains(cities, city) {
			cities = append(cities, city)
		}
	}
	return strings.Join(cities[:min(3, len(cities))], ", ")
}

func thingOf(f found, r reader) thing {
	t := thing{
		From: strings.TrimSpace(f.from + " " + f.alsoFrom), Place: f.place(), Sport: string(f.Sport),
		Icon: iconOf(f.Entry), Kind: f.Kind, Title: f.Title, When: timeOf(f), Private: f.Private, Device: f.Device,
		Page: f.Page, ViewOn: f.name, Route: routeOf(f.Route),
	}
	if t.Place {
		t.Where = dotted(f.Kind, f.Place)
		return t
	}
	t.Kind = cmp.Or(f.Kind, "Activity")
	t.Facts = listed(factsOf(f.Entry, r.imperial))
	return t
}

// dotted joins the words that are not empty.
func dotted(words ...string) string {
	return strings.Join(slices.DeleteFunc(words, func(s string) bool { return s == "" }), " · ")
}

// timeOf shows a time in the local time of its place. The tooltip names the zone.
func timeOf(f found) template.HTML {
	if f.DayOnly {
		return ""
	}
	local := f.Local()
	return template.HTML(local.Format(`<time datetime="2006-01-02T15:04:05Z07:00" `+
		`title="Monday 2 January 2006, 15:04 `) + offsetName(f.Offset) + local.Format(`">15:04</time>`))
}

// routeOf draws a route, with a dot where it begins and one where it ends elsewhere.
func routeOf(d *activity.Drawing) template.HTML {
	if d == nil {
		return ""
	}
	ends := d.Path[:max(0, strings.IndexAny(d.Path, "lL"))] + "h.1"
	if d.End != "" {
		ends += "M" + d.End + "h.1"
	}
	return template.HTML(fmt.Sprintf(`<svg class="land" viewBox="0 0 %d %d" aria-hidden="true">`+
		`<path class="trace" d="%s"/><path class="end" d="%[4]s"/><path class="end core" d="%[4]s"/></svg>`,
		d.Width, d.Height, template.HTMLEscapeString(d.Path), template.HTMLEscapeString(ends)))
}

// icons are the icons of sports.
var icons = map[activity.Sport]string{
	activity.Ride: "bike", activity.Run: "run", activity.Hike: "trekking", activity.Swim: "swimming",
	activity.Snow: "ski-jumping", activity.Gym: "barbell", activity.Place: "map-pin",
}

// placeIcons are found by a part of a place's kind.
var placeIcons = []struct{ part, icon string }{
	{"baker", "baguette"}, {"café", "coffee"}, {"cafe", "coffee"}, {"coffee", "coffee"},
	{"restaurant", "tools-kitchen-2"}, {"bistro", "tools-kitchen-2"},
	{"diner", "tools-kitchen-2"}, {"cinema", "movie"}, {"theater", "movie"},
	{"shop", "building-store"}, {"store", "building-store"}, {"market", "building-store"}, {"gym", "barbell"},
	{"pool", "swimming"}, {"mountain", "mountain"}, {"trail", "trekking"},
}

func iconOf(e activity.Entry) string {
	kind := strings.ToLower(e.Kind)
	switch {
	case e.Sport == activity.Place:
		for _, sign := range placeIcons {
			if strings.Contains(kind, sign.part) {
				return sign.icon
			}
		}
	case e.Sport == activity.Hike && strings.Contains(kind, "walk"):
		return "shoe"
	case e.Sport == activity.Gym && e.Route != nil:
		return "route"
	}
	return cmp.Or(icons[e.Sport], "barbell")
}
