package routes

import (
	"fmt"
	"html/template"
	"strings"
	"time"
)

// weekView is this week so far, from Monday on.
type weekView struct {
	Facts template.HTML
	Bars  []bar
	Label string // for screen readers
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
	var moving [7]int
	metres, total, places := 0.0, 0, 0
	today := r.now.Format(time.DateOnly)
	for _, f := range entries {
		switch {
		case f.day < monday || f.day > today:
		case f.place():
			places++
		default:
			moving[(int(f.Local().Weekday())+6)%7] += f.Seconds
			total, metres = total+f.Seconds, metres+f.Metres
		}
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
	return &weekView{listed(facts), bars, label}
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
