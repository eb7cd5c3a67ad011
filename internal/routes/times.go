package routes

import (
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"cairn/internal/session"
)

// Pages show times in the time zone of the person who reads them, and entries in the local time of their place.
// So a view holds times in the zone that they are shown in: zoneOf says which.

// zoneOf is the zone of the person who asks; UTC if it is not known.
func (s *server) zoneOf(r *http.Request) *time.Location {
	current, _ := session.Current(r.Context())
	return s.zone(current.TimeZone)
}

// zone finds a zone by its name, and caches it: loading one reads a file.
func (s *server) zone(name string) *time.Location {
	if name == "" {
		return time.UTC
	}
	if zone, ok := s.zones.Load(name); ok {
		return zone.(*time.Location)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return time.UTC
	}
	s.zones.Store(name, zone)
	return zone
}

// date shows a time so that people and machines can read it, in its own zone.
func date(t time.Time) template.HTML { return timeElement(t, t.Format("2 Jan 2006, 15:04")+utc(t)) }

// day is date without the hour.
func day(t time.Time) template.HTML { return timeElement(t, t.Format("2 January 2006")) }

// ago is date in words that say how long ago it was.
func ago(t time.Time) template.HTML { return timeElement(t, agoInWords(t, time.Now())) }

// moment is date for a time in the near future.
func moment(t time.Time) template.HTML { return timeElement(t, clock(t)) }

func timeElement(t time.Time, words string) template.HTML {
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s">%s</time>`,
		t.Format(time.RFC3339), exactly(t), template.HTMLEscapeString(words)))
}

// exactly is a time with its zone.
func exactly(t time.Time) string { return t.Format("Monday 2 January 2006, 15:04:05 ") + zoneName(t) }

func agoInWords(t, now time.Time) string {
	now = now.In(t.Location())
	switch passed := now.Sub(t); {
	case passed < time.Minute:
		return "just now"
	case passed < time.Hour:
		return fmt.Sprintf("%d min ago", int(passed.Minutes()))
	}
	switch day := t.Format(time.DateOnly); {
	case day == now.Format(time.DateOnly):
		return "today, " + t.Format("15:04") + utc(t)
	case day == now.AddDate(0, 0, -1).Format(time.DateOnly):
		return "yesterday, " + t.Format("15:04") + utc(t)
	case t.Year() == now.Year():
		return t.Format("2 Jan")
	}
	return t.Format("2 Jan 2006")
}

// clock is the time of day, with the date unless it is today.
func clock(t time.Time) string {
	t = t.Round(time.Second).Add(59 * time.Second).Truncate(time.Minute) // not too early
	if t.Format(time.DateOnly) == time.Now().In(t.Location()).Format(time.DateOnly) {
		return t.Format("15:04") + utc(t)
	}
	return t.Format("15:04") + utc(t) + t.Format(" on 2 Jan")
}

// utc names the zone if it is UTC; people need no name for their own zone.
func utc(t time.Time) string {
	if t.Location() == time.UTC {
		return " UTC"
	}
	return ""
}

// zoneName is "CET", and for zones without a name of their own "UTC−3".
func zoneName(t time.Time) string {
	name, offset := t.Zone()
	if name == "" || strings.ContainsAny(name[:1], "+-") {
		return offsetName(offset)
	}
	return name
}

// offsetName is "UTC", "UTC+2", "UTC−3:30".
func offsetName(offset int) string {
	if offset == 0 {
		return "UTC"
	}
	sign, minutes := "+", offset/60
	if offset < 0 {
		sign, minutes = "−", -minutes
	}
	if minutes%60 == 0 {
		return fmt.Sprintf("UTC%s%d", sign, minutes/60)
	}
	return fmt.Sprintf("UTC%s%d:%02d", sign, minutes/60, minutes%60)
}
