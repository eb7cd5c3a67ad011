package sandbox

import (
	"crypto/sha256"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

const diaryDays = 90

// diary is what a person has been doing lately, newest first. It is made up anew each time, always the same for the
// same day, so that ids stay and new days bring new entries without anything being stored.
type diary struct {
	outings []outing // Strava's activities and Garmin's, as if one watch fed both
	visits  []visit  // Foursquare's check-ins
}

type outing struct {
	person          person
	id              int64
	sport           sport
	name            string
	start           time.Time
	moving, elapsed int     // seconds
	distance        float64 // metres
	climb           float64 // metres
	pulse           float64
	private         bool
}

type sport struct {
	name, strava, stravaSport, garmin string
	speed                             float64 // metres per second
	indoor                            bool
}

var sports = []sport{
	{name: "Run", strava: "Run", stravaSport: "Run", garmin: "RUNNING", speed: 2.9},
	{name: "Trail Run", strava: "Run", stravaSport: "TrailRun", garmin: "TRAIL_RUNNING", speed: 2.4},
	{name: "Ride", strava: "Ride", stravaSport: "GravelRide", garmin: "CYCLING", speed: 6.4},
	{name: "Hike", strava: "Hike", stravaSport: "Hike", garmin: "HIKING", speed: 1.2},
	{name: "Turbo", strava: "VirtualRide", stravaSport: "VirtualRide", garmin: "INDOOR_CYCLING", speed: 8.1, indoor: true},
}

type visit struct {
	person person
	id     string
	at     time.Time
	place  place
	shout  string
	closed bool // venue unknown, as happens with places since removed
	secret bool
}

type place struct{ name, kind, plural, icon string }

var places = []place{
	{"Café Exemple", "Café", "Cafés", "food/cafe_"},
	{"Central Station", "Train Station", "Train Stations", "travel/trainstation_"},
	{"Bäckerei & Söhne", "Bakery", "Bakeries", "food/bakery_"},
	{"City Library", "Library", "Libraries", "building/library_"},
	{"The \"Old\" Park", "Park", "Parks", "parks_outdoors/park_"},
}

func diaryOf(key string, now time.Time) diary {
	var d diary
	p, known := personBy(key)
	if !known || p.quiet {
		return d
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(key))
	today := now.Unix() / 86400
	for day := today; day > today-diaryDays; day-- {
		dice := rand.New(rand.NewPCG(h.Sum64(), uint64(day)))
		if o := newOuting(p, day, dice); dice.IntN(10) < 6 && o.uploaded().Before(now) {
			d.outings = append(d.outings, o)
		}
		for n := dice.IntN(3); n > 0; n-- { // later first, as everything here
			if v := newVisit(p, day, n, dice); v.at.Before(now) {
				d.visits = append(d.visits, v)
			}
		}
	}
	return d
}

func newOuting(p person, day int64, dice *rand.Rand) outing {
	kind := sports[dice.IntN(len(sports))]
	moving := 1500 + dice.IntN(5400)
	hour := 6 + dice.IntN(12)
	o := outing{
		person: p, sport: kind, id: 16_000_000_000 + day*1000 + p.strava%1000, moving: moving, elapsed: moving + dice.IntN(600),
		start:    time.Unix(day*86400+int64(hour*3600+dice.IntN(3600)-p.utcOffset), 0).UTC(),
		distance: math.Round(float64(moving)*kind.speed*(0.9+0.2*dice.Float64())*10) / 10,
		climb:    float64(dice.IntN(400)), pulse: 125 + float64(dice.IntN(300))/10, private: dice.IntN(6) == 0,
	}
	o.name = map[bool]string{true: "Morning ", false: "Afternoon "}[hour < 12] + kind.name
	switch dice.IntN(8) {
	case 0:
		o.name = `Intervals 6×400 m <b>hard</b> & "fun" 🥵`
	case 1:
		o.name = p.city + " " + kind.name
	}
	return o
}

// uploaded is when the watch handed the outing over.
func (o outing) uploaded() time.Time { return o.start.Add(time.Duration(o.elapsed+300) * time.Second) }

func (o outing) stravaActivity() object {
	speed := math.Round(o.distance/float64(o.moving)*100) / 100
	visibility, from, to := "everyone", []float64{o.person.lat, o.person.lng}, []float64{o.person.lat + 0.01, o.person.lng + 0.01}
	if o.private {
		visibility = "only_me"
	}
	if o.sport.indoor {
		from, to = []float64{}, []float64{}
	}
	local := o.start.Add(time.Duration(o.person.utcOffset) * time.Second)
	return object{
		"resource_state": 2, "athlete": object{"id": o.person.strava, "resource_state": 1}, "name": o.name,
		"distance": o.distance, "moving_time": o.moving, "elapsed_time": o.elapsed, "total_elevation_gain": o.climb,
		"type": o.sport.strava, "sport_type": o.sport.stravaSport, "workout_type": nil, "id": o.id,
		"start_date": o.start.Format(time.RFC3339), "start_date_local": local.Format(time.RFC3339), // its Z is false
		"timezone": o.person.zone, "utc_offset": float64(o.person.utcOffset),
		"location_city": nil, "location_state": nil, "location_country": nil,
		"achievement_count": 0, "kudos_count": o.id % 9, "comment_count": 0, "athlete_count": 1, "photo_count": 0,
		"map":     object{"id": "a" + strconv.FormatInt(o.id, 10), "summary_polyline": "", "resource_state": 2},
		"trainer": o.sport.indoor, "commute": false, "manual": false, "private": o.private, "visibility": visibility,
		"flagged": false, "gear_id": nil, "start_latlng": from, "end_latlng": to,
		"average_speed": speed, "max_speed": speed * 1.6, "average_temp": 14,
		"has_heartrate": true, "average_heartrate": o.pulse, "max_heartrate": o.pulse + 31,
		"heartrate_opt_out": false, "display_hide_heartrate_option": true, "elev_high": o.climb + 160, "elev_low": 160.6,
		"upload_id": o.id + 1_000_000_000, "upload_id_str": strconv.FormatInt(o.id+1_000_000_000, 10),
		"external_id": "garmin_ping_" + strconv.FormatInt(o.id, 10), "from_accepted_tag": false, "pr_count": 0,
		"total_photo_count": 0, "has_kudoed": false, "suffer_score": math.Round(o.pulse / 3),
		"device_name": "Garmin Forerunner 965",
	}
}

func (o outing) garminSummary() object {
	summary := object{
		"summaryId": strconv.FormatInt(o.id, 10), "activityId": o.id, "activityType": o.sport.garmin, "activityName": o.name,
		"startTimeInSeconds": o.start.Unix(), "startTimeOffsetInSeconds": o.person.utcOffset, "durationInSeconds": o.elapsed,
		"distanceInMeters": o.distance, "averageSpeedInMetersPerSecond": o.distance / float64(o.moving),
		"averagePaceInMinutesPerKilometer": float64(o.moving) / 60 / (o.distance / 1000),
		"averageHeartRateInBeatsPerMinute": int(o.pulse), "maxHeartRateInBeatsPerMinute": int(o.pulse) + 31,
		"activeKilocalories": o.moving / 6, "totalElevationGainInMeters": o.climb, "totalElevationLossInMeters": o.climb,
		"deviceName": "Garmin Forerunner 965", "manual": false, "isWebUpload": false,
	}
	if !o.sport.indoor {
		summary["startingLatitudeInDegree"], summary["startingLongitudeInDegree"] = o.person.lat, o.person.lng
	}
	return summary
}

// newVisit is the day's n-th stop; a day has three parts, so that the n-th is always the later one.
func newVisit(p person, day int64, n int, dice *rand.Rand) visit {
	v := visit{
		person: p, id: fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%s %d %d", p.key, day, n)))[:24],
		at:     time.Unix(day*86400+int64(n*8*3600+dice.IntN(7*3600)-p.utcOffset), 0).UTC(),
		place:  places[dice.IntN(len(places))],
		secret: dice.IntN(8) == 0,
		closed: dice.IntN(12) == 0,
	}
	if dice.IntN(3) == 0 {
		v.shout = "Great coffee, said <nobody> & “me”"
	}
	return v
}

func (v visit) checkin() object {
	checkin := object{
		"id": v.id, "createdAt": v.at.Unix(), "type": "checkin", "timeZoneOffset": v.person.utcOffset / 60, // minutes
		"visibility": map[bool]string{true: "private", false: "public"}[v.secret], "isMayor": false, "like": false,
		"likes": object{"count": 0, "groups": []object{}}, "comments": object{"count": 0},
		"photos": object{"count": 0, "items": []object{}},
		"source": object{"name": "Swarm for iOS", "url": "https://www.swarmapp.com"},
	}
	if v.shout != "" {
		checkin["shout"] = v.shout
	}
	if !v.closed {
		checkin["venue"] = v.place.venue(v.person)
	}
	return checkin
}

func (pl place) venue(p person) object {
	id := fmt.Sprintf("%x", sha256.Sum256([]byte(pl.name+p.city)))[:24]
	location := object{
		"lat": p.lat, "lng": p.lng, "labeledLatLngs": []object{{"label": "display", "lat": p.lat, "lng": p.lng}},
		"cc": p.cc, "city": p.city, "country": p.country, "formattedAddress": []string{p.city, p.country},
	}
	if p.state != "" {
		location["state"] = p.state
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
