package activity

import (
	"cmp"
	"strings"
	"unicode"
)

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

// garminDevice is the credit that Garmin wants: "Garmin Edge 840". If always is set, Garmin is
// credited whatever the device is called.
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
