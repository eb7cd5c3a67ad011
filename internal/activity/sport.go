package activity

import (
	"cmp"
	"strings"
	"unicode"
)

// Sport is one of the few kinds that have an icon and a colour on pages. Entry.Kind has the provider's own word.
type Sport string

// The kinds. Gym is everything that is none of the others.
const (
	Ride  Sport = "ride"
	Run   Sport = "run"
	Hike  Sport = "hike" // on foot, slower
	Swim  Sport = "swim" // in or on water
	Snow  Sport = "snow" // and ice
	Gym   Sport = "gym"
	Place Sport = "place" // a check-in
)

// signs are parts of providers' words for kinds of sport; the first that is found counts.
var signs = []struct {
	part  string
	sport Sport
}{
	{"motor", Gym}, {"inline", Gym}, {"rollerski", Gym},
	{"swim", Swim}, {"row", Swim}, {"kayak", Swim}, {"canoe", Swim}, {"paddl", Swim}, {"surf", Swim}, {"sail", Swim},
	{"snow", Snow}, {"ski", Snow}, {"iceskat", Snow}, {"ride", Ride}, {"cycl", Ride}, {"bik", Ride}, {"velo", Ride},
	{"run", Run}, {"jog", Run}, {"hik", Hike}, {"walk", Hike}, {"ruck", Hike}, {"mountaineer", Hike},
}

// SportOf finds the kind in "TrailRun" and in "TRAIL_RUN"; the first name that is not empty counts.
func SportOf(names ...string) Sport {
	name := strings.ToLower(strings.NewReplacer("_", "", " ", "", "-", "").Replace(cmp.Or(names...)))
	for _, sign := range signs {
		if strings.Contains(name, sign.part) {
			return sign.sport
		}
	}
	return Gym
}

// earlierSport returns the kind of an entry that the previous version stored without one: only check-ins take no time.
func earlierSport(e Entry) Sport {
	if e.Seconds == 0 && e.Metres == 0 && e.Device == "" {
		return Place
	}
	return SportOf(e.Kind)
}

// SportInWords makes "Trail run" of "TrailRun" and of "TRAIL_RUN"; the first name that is not empty counts.
func SportInWords(names ...string) string {
	name := Text(cmp.Or(names...))
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
