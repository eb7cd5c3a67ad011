package sandbox

import (
	"slices"
	"strings"
	"time"
)

// town is where people live, and where they go.
type town struct {
	city, state, country, cc string
	lat, lng                 float64
	zone                     string // as Strava writes it: winter's offset and the zone's name
	utcOffset                int    // winter's, in seconds
}

// location returns the town's time zone. If this machine has no time zones, it is winter time all year.
func (t town) location() *time.Location {
	_, name, _ := strings.Cut(t.zone, ") ")
	location, err := time.LoadLocation(name)
	if err != nil {
		return time.FixedZone(name, t.utcOffset)
	}
	return location
}

// person is a made-up person. Each is an edge case of its own.
type person struct {
	town
	key, first, last             string
	sex                          string
	strava                       int64
	garmin, foursquare, username string
	hue                          int      // of the picture
	quiet                        bool     // has an empty diary
	sports                       []string // what they do
	device                       string
}

var people = []person{
	{ // an ordinary person
		key: "ada", first: "Ada", last: "Example", username: "adaexample", sex: "F", hue: 265,
		town: town{city: "Lyon", state: "Auvergne-Rhône-Alpes", country: "France", cc: "FR", lat: 45.7606, lng: 4.8359,
			utcOffset: 3600, zone: "(GMT+01:00) Europe/Paris"},
		strava: 5_000_000_101, garmin: "d3315b1072e84c1f9a7c1f0e5b6a9c01", foursquare: "1234567",
		sports: []string{"run", "ride", "hike", "swim", "trail", "ride", "strength"}, device: "Garmin Forerunner 965",
	},
	{ // several scripts
		key: "zofie", first: "Žofie", last: "Ångström-李", username: "zofie", sex: "F", hue: 160,
		town: town{city: "Český Krumlov", country: "Česko", cc: "CZ", lat: 48.8127, lng: 14.3175,
			utcOffset: 3600, zone: "(GMT+01:00) Europe/Prague"},
		strava: 5_000_000_202, garmin: "8c1f0e5b-6a9c-4d33-95b1-072e84c1f9a7", foursquare: "20260000123",
		sports: []string{"walk", "hike", "ski", "row", "swim"}, device: "Garmin fēnix 8 – 47 mm",
	},
	{ // one name, no history, and a Strava id that a float64 cannot hold
		key: "moss", first: "Moss", hue: 95, quiet: true,
		town: town{city: "Reykjavík", country: "Iceland", cc: "IS", lat: 64.1466, lng: -21.9426,
			zone: "(GMT+00:00) Atlantic/Reykjavik"},
		strava: 9_007_199_254_740_993, garmin: "00000000000000000000000000000042", foursquare: "42",
		sports: []string{"walk"}, device: "Garmin vívoactive 5",
	},
	{ // too long for most layouts, with characters that are special in HTML
		key: "max", first: "Maximiliana-Konstantina", last: `Featherstonehaugh & O'Brien <of> "Llanfairpwll"`,
		username: "max", sex: "F", hue: 20,
		town: town{
			city: "Santiago", state: "Región Metropolitana", country: "Chile", cc: "CL",
			lat: -33.4489, lng: -70.6693, utcOffset: -14400, zone: "(GMT-04:00) America/Santiago",
		},
		strava: 5_000_000_404, garmin: "ffffffffffffffffffffffffffffffff", foursquare: "99999999999",
		sports: []string{"ride", "turbo", "strength", "run"}, device: "Garmin Edge 1050",
	},
}

func personBy(key string) (person, bool) {
	i := slices.IndexFunc(people, func(p person) bool { return p.key == key })
	if i < 0 {
		return person{}, false
	}
	return people[i], true
}

func (p person) name() string { return strings.TrimSpace(p.first + " " + p.last) }

// athlete is Strava's SummaryAthlete, with detail its DetailedAthlete.
func athlete(g Grant, base string, detail bool) object {
	p, _ := personBy(g.Person)
	answer := object{
		"id": p.strava, "username": orNull(p.username), "resource_state": 2, "firstname": p.first, "lastname": p.last,
		"bio": nil, "city": p.city, "state": p.state, "country": p.country, "sex": orNull(p.sex),
		"premium": false, "summit": false, "created_at": "2019-04-02T17:20:11Z", "updated_at": "2026-10-01T06:00:00Z",
		"badge_type_id": 0, "weight": nil, "friend": nil, "follower": nil,
		"profile":        base + "/people/large/" + p.key + ".png",
		"profile_medium": base + "/people/medium/" + p.key + ".png",
	}
	if p.quiet { // a person without a picture has a relative path
		answer["profile"], answer["profile_medium"] = "avatar/athlete/large.png", "avatar/athlete/medium.png"
	}
	if detail {
		answer["resource_state"] = 3
		for _, field := range []string{
			"follower_count", "friend_count", "mutual_friend_count", "athlete_type", "postable_clubs_count",
		} {
			answer[field] = 0
		}
		answer["blocked"], answer["can_follow"], answer["ftp"] = false, false, nil
		answer["date_preference"], answer["measurement_preference"] = "%m/%d/%Y", "meters"
		answer["clubs"], answer["bikes"], answer["shoes"] = []object{}, []object{}, []object{}
	}
	return answer
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// swarmUser is Foursquare's user. Missing values are left out.
func swarmUser(g Grant, base string) object {
	p, _ := personBy(g.Person)
	user := object{
		"id": p.foursquare, "firstName": p.first, "privateProfile": false, "countryCode": p.cc, "relationship": "self",
		"photo":    object{"prefix": base + "/people/", "suffix": "/" + p.key + ".png"},
		"homeCity": p.city + ", " + p.cc, "bio": "", "contact": object{}, "checkinPings": "off", "pings": false,
		"type": "user", "canonicalUrl": "https://app.foursquare.com/user/" + p.foursquare,
	}
	if p.last != "" {
		user["lastName"] = p.last
	}
	if p.username != "" {
		user["handle"] = p.username
		user["contact"] = object{"email": p.username + "@example.org"}
	}
	return user
}
