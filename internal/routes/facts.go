package routes

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"

	"cairn/internal/activity"
)

// fact is one figure of an activity.
type fact struct{ Label, Value, Unit string }

const (
	maxFacts      = 4
	metresPerMile = 1609.344
	metresPerFoot = 0.3048
	metresPerYard = 0.9144
)

// listed lists figures. Labels and units are ours, and values are numbers, so nothing needs escaping.
func listed(facts []fact) template.HTML {
	var list strings.Builder
	list.Grow(80 * len(facts))
	for _, f := range facts {
		list.WriteString(`<div><dt>` + f.Label + `</dt><dd>` + f.Value)
		if f.Unit != "" {
			list.WriteString(` <small>` + f.Unit + `</small>`)
		}
		list.WriteString(`</dd></div>`)
	}
	return template.HTML(list.String())
}

// factsOf returns the known figures that say most about an activity of its kind, at most maxFacts.
func factsOf(e activity.Entry, imperial bool) []fact {
	swims := e.Sport == activity.Swim && strings.Contains(strings.ToLower(e.Kind), "swim")
	facts := []fact{distanceOf(e.Metres, swims, imperial), durationOf(e)}
	climbed := climbOf(e.Climb, imperial)
	switch {
	case swims:
		facts = append(facts, paceOf(e, map[bool]float64{false: 100, true: 100 * metresPerYard}[imperial],
			map[bool]string{false: "/100 m", true: "/100 yd"}[imperial]))
	case e.Sport == activity.Run:
		facts = append(facts, paceOf(e, map[bool]float64{false: 1000, true: metresPerMile}[imperial],
			map[bool]string{false: "/km", true: "/mi"}[imperial]), climbed)
	case e.Sport == activity.Hike, e.Sport == activity.Gym:
		facts = append(facts, climbed)
	default:
		facts = append(facts, climbed, speedOf(e, imperial))
	}
	facts = append(facts, pulseOf(e.Pulse))
	known := facts[:0]
	for _, f := range facts {
		if f.Value != "" && len(known) < maxFacts {
			known = append(known, f)
		}
	}
	return known
}

func distanceOf(metres float64, swims, imperial bool) fact {
	f := fact{Label: "Distance"}
	switch {
	case metres < 1:
		return fact{}
	case imperial && swims:
		f.Value, f.Unit = grouped(metres/metresPerYard), "yd"
	case imperial && metres < metresPerMile/10:
		f.Value, f.Unit = grouped(metres/metresPerFoot), "ft"
	case imperial:
		f.Value, f.Unit = tenths(metres/metresPerMile), "mi"
	case metres < 1000 || swims:
		f.Value, f.Unit = grouped(metres), "m"
	default:
		f.Value, f.Unit = tenths(metres/1000), "km"
	}
	return f
}

// durationOf is the moving time, where the provider gives the time with pauses too.
func durationOf(e activity.Entry) fact {
	if e.Seconds <= 0 {
		return fact{}
	}
	f := fact{Label: "Time"}
	if e.Elapsed > 0 {
		f.Label = "Moving"
	}
	f.Value, f.Unit = hours(e.Seconds)
	return f
}

// hours is "2:31" hours, or "41:20" minutes.
func hours(seconds int) (value, unit string) {
	if seconds < 3600 {
		return fmt.Sprintf("%d:%02d", seconds/60, seconds%60), "min"
	}
	return fmt.Sprintf("%d:%02d", seconds/3600, seconds/60%60), "h"
}

// paceOf is the time for a stretch, in metres.
func paceOf(e activity.Entry, stretch float64, unit string) fact {
	if e.Metres < 1 || e.Seconds <= 0 {
		return fact{}
	}
	pace := int(math.Round(float64(e.Seconds) / e.Metres * stretch))
	if pace >= 3600 {
		return fact{} // over an hour says nothing
	}
	return fact{"Pace", fmt.Sprintf("%d:%02d", pace/60, pace%60), unit}
}

func speedOf(e activity.Entry, imperial bool) fact {
	if e.Metres < 1 || e.Seconds <= 0 {
		return fact{}
	}
	kilometres := e.Metres / float64(e.Seconds) * 3.6
	if imperial {
		return fact{"Speed", tenths(kilometres * 1000 / metresPerMile), "mph"}
	}
	return fact{"Speed", tenths(kilometres), "km/h"}
}

func climbOf(metres float64, imperial bool) fact {
	switch {
	case metres < 1:
		return fact{}
	case imperial:
		return fact{"Climbed", grouped(metres / metresPerFoot), "ft"}
	}
	return fact{"Climbed", grouped(metres), "m"}
}

func pulseOf(beats float64) fact {
	if beats < 20 || beats > 260 {
		return fact{}
	}
	return fact{"Heart rate", grouped(beats), "bpm"}
}

func tenths(n float64) string {
	if n >= 1000 {
		return grouped(n)
	}
	return strconv.FormatFloat(math.Round(n*10)/10, 'f', 1, 64)
}

// grouped is "1,040".
func grouped(n float64) string {
	digits := strconv.FormatFloat(math.Round(n), 'f', -1, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
