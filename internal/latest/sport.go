package latest

import (
	"cmp"
	"encoding/json"
	"math"
	"strings"
	"time"
	"unicode"

	"cairn/internal/oauth"
)

// maxText is how many characters of a title or a place are kept.
const maxText = 120

func presentable(text string) string { return oauth.Presentable(maxText, text) }

// sportInWords makes "Trail run" of Strava's "TrailRun" and Garmin's "TRAIL_RUN"; the first that says something counts.
func sportInWords(names ...string) string {
	name := presentable(cmp.Or(names...))
	var words strings.Builder
	for i, r := range name {
		capital := unicode.IsUpper(r) && name != strings.ToUpper(name)
		switch {
		case i == 0:
			words.WriteRune(unicode.ToUpper(r))
		case r == '_':
			words.WriteRune(' ')
		case capital:
			words.WriteRune(' ')
			words.WriteRune(unicode.ToLower(r))
		default:
			words.WriteRune(unicode.ToLower(r))
		}
	}
	return strings.Replace(words.String(), "E bike", "E-bike", 1)
}

// garminDevice is what Garmin wants to be credited with: "Garmin Edge 840". always says that it was Garmin, whatever device
// is named.
func garminDevice(name string, always bool) string {
	name = presentable(name)
	switch {
	case strings.HasPrefix(strings.ToLower(name), "garmin"):
		return name
	case !always:
		return ""
	case name == "" || strings.EqualFold(name, "unknown"):
		return "Garmin"
	}
	return "Garmin " + name
}

// entriesOf reads a list one by one, so that an odd entry costs only itself.
func entriesOf[T any](list []json.RawMessage, entry func(T) (Entry, bool)) (entries []Entry) {
	for _, raw := range list {
		var item T
		if json.Unmarshal(raw, &item) != nil {
			continue
		}
		if e, ok := entry(item); ok {
			entries = append(entries, e)
		}
	}
	return entries
}

// plausible tells whether something can have happened then.
func plausible(at time.Time) bool { return at.Year() >= 1990 && at.Year() < 2100 }

// offset is of a clock on Earth, in whole seconds; anything else counts as UTC.
func offset(seconds float64) int {
	if math.Abs(seconds) > 18*3600 {
		return 0
	}
	return int(seconds)
}

func positive(n float64) float64 { return math.Max(0, n) }

func seconds(n json.Number) int {
	f, err := n.Float64()
	if err != nil || f < 0 || f > 1e8 {
		return 0
	}
	return int(f)
}
