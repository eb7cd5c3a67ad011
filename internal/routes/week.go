package routes

import (
	"fmt"
	"html/template"
	"slices"
	"sort"
	"strings"
	"time"
)

// weekView is this week so far, from Monday on.
type weekView struct {
	Facts   template.HTML
	Credits string // that are due for its entries; "": none
	Bars    []bar
	Label   string // for screen readers
}

// bar is a day's time in motion, in per cent of the chart.
type bar struct {
	X, Text, Y, Height string
	Day                string
	Today, Empty       bool
}

// newWeek sums up this week. It is nil if nothing happened yet, or if entries may be missing: only the newest ones of a
// connection are kept.
func newWeek(cards []card, entries []found, r reader) *weekView {
	monday := r.now.AddDate(0, 0, -(int(r.now.Weekday())+6)%7).Format(time.DateOnly)
	for _, c := range cards {
		if c.Latest != nil && c.Latest.Full && c.Latest.oldest() >= monday {
			return nil
		}
	}
	entries = during(entries, monday, r.now.Format(time.DateOnly))
	var moving [7]int
	metres, total, places := 0.0, 0, 0
	for _, f := range entries {
		if f.place() {
			places++
			continue
		}
		moving[(int(f.Local().Weekday())+6)%7] += f.Seconds
		total, metres = total+f.Seconds, metres+f.Metres
	}
	if total == 0 && places == 0 {
		return nil
	}
	var facts []fact
	if total > 0 {
		value, unit := hours(total)
		facts = append(facts, fact{"Moving", value, unit})
	}
	if metres >= 1 {
		facts = append(facts, distanceOf(metres, false, r.imperial))
	}
	if places > 0 {
		facts = append(facts, fact{"Places", grouped(float64(places)), ""})
	}
	bars, label := barsOf(moving, r.now)
	return &weekView{listed(facts), creditsOf(cards, entries), bars, label}
}

// during returns the entries from one day to another. They are in order.
func during(entries []found, first, last string) []found {
	from := sort.Search(len(entries), func(i int) bool { return entries[i].day >= first })
	to := sort.Search(len(entries), func(i int) bool { return entries[i].day > last })
	return entries[from:to]
}

// creditsOf returns the credits that are due for what is made of entries: of the devices that recorded them, and of
// their providers.
func creditsOf(cards []card, entries []found) string {
	var credits []string
	has := map[string]bool{} // by provider
	for _, f := range entries {
		if f.Device != "" && !slices.Contains(credits, f.Device) {
			credits = append(credits, f.Device)
		}
		has[f.from], has[f.alsoFrom] = true, true
	}
	for _, c := range cards {
		if c.Attribution != "" && has[c.Key] {
			credits = append(credits, c.Attribution)
		}
	}
	return strings.Join(credits, " · ")
}

func barsOf(moving [7]int, now time.Time) (bars []bar, label string) {
	longest := 1
	for _, seconds := range moving {
		longest = max(longest, seconds)
	}
	var words []string
	for i, seconds := range moving {
		weekday := time.Weekday((i + 1) % 7)
		height := 70 * float64(seconds) / float64(longest)
		bars = append(bars, bar{
			X: fmt.Sprintf("%d%%", 3+14*i), Text: fmt.Sprintf("%.1f%%", 7.5+14*float64(i)),
			Y: fmt.Sprintf("%.1f%%", 74-height), Height: fmt.Sprintf("%.1f%%", height),
			Day: weekday.String()[:1], Today: weekday == now.Weekday(), Empty: seconds == 0,
		})
		if seconds > 0 {
			value, unit := hours(seconds)
			words = append(words, weekday.String()+" "+value+" "+unit)
		}
	}
	return bars, "Time in motion this week: " + strings.Join(words, ", ")
}
