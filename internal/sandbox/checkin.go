package sandbox

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"time"
)

type checkin struct {
	person person
	id     string
	at     time.Time
	place  place
	shout  string
	closed bool // the venue is missing, as for places that were removed since
	secret bool
}

type place struct {
	name, kind, plural, icon string
	away                     *town // nil: where the person lives
}

var places = []place{
	{name: "Café Exemple", kind: "Café", plural: "Cafés", icon: "food/cafe_"},
	{name: "Central Station", kind: "Train Station", plural: "Train Stations", icon: "travel/trainstation_"},
	{name: "Bäckerei & Söhne", kind: "Bakery", plural: "Bakeries", icon: "food/bakery_"},
	{name: "City Library", kind: "Library", plural: "Libraries", icon: "building/library_"},
	{name: "The \"Old\" Park", kind: "Park", plural: "Parks", icon: "parks_outdoors/park_"},
	{
		name: "東京駅 (Tokyo Station)", kind: "Train Station", plural: "Train Stations",
		icon: "travel/trainstation_",
		away: &town{
			city: "千代田区", state: "東京都", country: "日本", cc: "JP", lat: 35.6812, lng: 139.7671,
			zone: "(GMT+09:00) Asia/Tokyo", utcOffset: 32400,
		},
	},
	{name: "مقهى الركن", kind: "Café", plural: "Cafés", icon: "food/cafe_"},
}

// newCheckin generates a check-in without its time. Its id is a hash of the seed.
func newCheckin(p person, seed string, dice *rand.Rand) checkin {
	v := checkin{
		person: p, id: fmt.Sprintf("%x", sha256.Sum256([]byte(seed)))[:24],
		place:  places[dice.IntN(len(places))],
		secret: dice.IntN(8) == 0,
		closed: dice.IntN(12) == 0,
	}
	if dice.IntN(3) == 0 {
		v.shout = "Great coffee, said <nobody> & “me”"
	}
	return v
}

// where returns the town of the check-in.
func (v checkin) where() town {
	if v.place.away != nil {
		return *v.place.away
	}
	return v.person.town
}

func (v checkin) foursquareJSON() object {
	_, offset := v.at.In(v.where().location()).Zone()
	checkin := object{
		"id": v.id, "createdAt": v.at.Unix(), "type": "checkin", "timeZoneOffset": offset / 60, // minutes
		"visibility": map[bool]string{true: "private", false: "public"}[v.secret], "isMayor": false, "like": false,
		"likes": object{"count": 0, "groups": []object{}}, "comments": object{"count": 0},
		"photos": object{"count": 0, "items": []object{}},
		"source": object{"name": "Swarm for iOS", "url": "https://www.swarmapp.com"},
	}
	if v.shout != "" {
		checkin["shout"] = v.shout
	}
	if !v.closed {
		checkin["venue"] = v.place.venue(v.where())
	}
	return checkin
}

func (pl place) venue(in town) object {
	id := fmt.Sprintf("%x", sha256.Sum256([]byte(pl.name+in.city)))[:24]
	location := object{
		"lat": in.lat, "lng": in.lng, "labeledLatLngs": []object{{"label": "display", "lat": in.lat, "lng": in.lng}},
		"cc": in.cc, "city": in.city, "country": in.country, "formattedAddress": []string{in.city, in.country},
	}
	if in.state != "" {
		location["state"] = in.state
	}
	return object{
		"id": id, "name": pl.name, "createdAt": 1262300000, "location": location,
		"categories": []object{{
			"id": id[:8] + "d48988d16d941735", "name": pl.kind, "pluralName": pl.plural, "shortName": pl.kind,
			"icon":    object{"prefix": "https://ss3.4sqi.net/img/categories_v2/" + pl.icon, "suffix": ".png"},
			"primary": true,
		}},
	}
}
