package sandbox

import (
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// activity is what a watch records. Its route and its figures agree.
type activity struct {
	person          person
	id              int64
	sport           sport
	title           string // as the person wrote it; "": none
	name            string
	start           time.Time
	offset          int     // of local time at the place, in seconds
	moving, elapsed int     // seconds
	distance        float64 // metres; 0 for one in place
	climb           float64 // metres
	pulse           float64
	private         bool
}

type sport struct {
	name, strava, stravaSport, garmin string
	speed                             float64 // metres per second
	steep                             float64 // metres upwards per metre
	indoor                            bool
}

var sports = map[string]sport{
	"run": {name: "Run", strava: "Run", stravaSport: "Run", garmin: "RUNNING", speed: 2.9, steep: .008},
	"trail": {
		name: "Trail Run", strava: "Run", stravaSport: "TrailRun",
		garmin: "TRAIL_RUNNING", speed: 2.4, steep: .03,
	},
	"ride": {name: "Ride", strava: "Ride", stravaSport: "GravelRide", garmin: "CYCLING", speed: 6.4, steep: .013},
	"walk": {name: "Walk", strava: "Walk", stravaSport: "Walk", garmin: "WALKING", speed: 1.4, steep: .006},
	"hike": {name: "Hike", strava: "Hike", stravaSport: "Hike", garmin: "HIKING", speed: 1.2, steep: .06},
	"ski": {
		name: "Nordic Ski", strava: "NordicSki", stravaSport: "NordicSki",
		garmin: "CROSS_COUNTRY_SKIING", speed: 3.6, steep: .015,
	},
	"row": {name: "Row", strava: "Rowing", stravaSport: "Rowing", garmin: "ROWING", speed: 2.6},
	"turbo": {
		name: "Turbo", strava: "VirtualRide", stravaSport: "VirtualRide",
		garmin: "INDOOR_CYCLING", speed: 8.1, indoor: true,
	},
	"swim": {name: "Swim", strava: "Swim", stravaSport: "Swim", garmin: "LAP_SWIMMING", speed: 0.8, indoor: true},
	"strength": {
		name: "Strength", strava: "WeightTraining", stravaSport: "WeightTraining",
		garmin: "STRENGTH_TRAINING", indoor: true,
	},
}

// titles are what people call an activity, and oddTitles what some of them do.
var (
	titles = []string{
		"Along the river", "Before the rain", "Round the lake", "To the bakery and back", "With the dog", "Easy one",
		"Head wind all the way", "Up the old tower road", "Lunch break",
	}
	oddTitles = []string{
		`Intervals 6×400 m <b>hard</b> & "fun" 🥵`,
		"朝の川沿いラン 🌅",
		"Po práci na Kleť – mlha, žluťoučký kůň 👩‍👧",
		"جولة حول البحيرة",
		"Long one. " +
			"Very, very long one, all the way round and back again, and then once more because why not. Never again!",
	}
)

// newActivity generates an activity without its time.
func newActivity(p person, id int64, dice *rand.Rand) activity {
	kind := sports[p.sports[dice.IntN(len(p.sports))]]
	moving := 1500 + dice.IntN(5400)
	o := activity{
		person: p, sport: kind, id: id, moving: moving, elapsed: moving + dice.IntN(1500),
		distance: math.Round(float64(moving)*kind.speed*(0.9+0.2*dice.Float64())*10) / 10,
		pulse:    125 + float64(dice.IntN(300))/10, private: dice.IntN(6) == 0,
	}
	o.climb = math.Round(o.distance * kind.steep * (0.5 + dice.Float64()))
	switch n := dice.IntN(24); {
	case n < 4:
		o.title = oddTitles[dice.IntN(len(oddTitles))]
	case n < 14:
		o.title = titles[dice.IntN(len(titles))]
	}
	return o
}

// stops reports whether the activity had a long break, outside.
func (o activity) stops() bool { return !o.sport.indoor && o.elapsed-o.moving > 600 }

// at gives the activity its time, and its name if it has no title.
func (o activity) at(start time.Time) activity {
	local := start.In(o.person.location())
	_, o.offset = local.Zone()
	o.start = start
	if o.name = o.title; o.name == "" {
		o.name = map[bool]string{true: "Morning ", false: "Afternoon "}[local.Hour() < 12] + o.sport.name
	}
	return o
}

// changed returns the activity as the person has edited it.
func (o activity) changed(e entry) activity {
	if e.Title != nil {
		o.name = *e.Title
	}
	if e.Private != nil {
		o.private = *e.Private
	}
	return o
}

// uploaded returns when the watch uploaded the activity.
func (o activity) uploaded() time.Time {
	return o.start.Add(time.Duration(o.elapsed+300) * time.Second)
}

func (o activity) stravaJSON() object {
	speed := math.Round(o.distance/float64(o.moving)*100) / 100
	visibility, from, to := "everyone", []float64{}, []float64{}
	if o.private {
		visibility = "only_me"
	}
	route := o.route()
	if len(route) > 0 {
		from, to = route[0].rounded(), route[len(route)-1].rounded()
	}
	local := o.start.Add(time.Duration(o.offset) * time.Second)
	return object{
		"resource_state": 2, "athlete": object{"id": o.person.strava, "resource_state": 1}, "name": o.name,
		"distance": o.distance, "moving_time": o.moving, "elapsed_time": o.elapsed, "total_elevation_gain": o.climb,
		"type": o.sport.strava, "sport_type": o.sport.stravaSport, "workout_type": nil, "id": o.id,
		"start_date": o.start.Format(time.RFC3339), "start_date_local": local.Format(time.RFC3339), // despite its Z
		"timezone": o.person.zone, "utc_offset": float64(o.offset),
		"location_city": nil, "location_state": nil, "location_country": nil,
		"achievement_count": 0, "kudos_count": o.id % 9, "comment_count": 0, "athlete_count": 1, "photo_count": 0,
		"map": object{
			"id": "a" + strconv.FormatInt(o.id, 10), "summary_polyline": polyline(route), "resource_state": 2,
		},
		"trainer": o.sport.indoor, "commute": false, "manual": false, "private": o.private, "visibility": visibility,
		"flagged": false, "gear_id": nil, "start_latlng": from, "end_latlng": to,
		"average_speed": speed, "max_speed": speed * 1.6, "average_temp": 14,
		"has_heartrate": true, "average_heartrate": o.pulse, "max_heartrate": o.pulse + 31,
		"heartrate_opt_out": false, "display_hide_heartrate_option": true,
		"elev_high": o.climb + 160, "elev_low": 160.6,
		"upload_id": o.id + 1_000_000_000, "upload_id_str": strconv.FormatInt(o.id+1_000_000_000, 10),
		"external_id": "garmin_ping_" + strconv.FormatInt(o.id, 10), "from_accepted_tag": false, "pr_count": 0,
		"total_photo_count": 0, "has_kudoed": false, "suffer_score": math.Round(o.pulse / 3),
		"device_name": o.person.device,
	}
}

func (o activity) garminJSON() object {
	summary := object{
		"summaryId": strconv.FormatInt(o.id, 10), "activityId": o.id,
		"activityType": o.sport.garmin, "activityName": o.name,
		"startTimeInSeconds": o.start.Unix(), "startTimeOffsetInSeconds": o.offset, "durationInSeconds": o.elapsed,
		"averageHeartRateInBeatsPerMinute": int(o.pulse), "maxHeartRateInBeatsPerMinute": int(o.pulse) + 31,
		"activeKilocalories": o.moving / 6, "deviceName": o.person.device, "manual": false, "isWebUpload": false,
	}
	if o.distance > 0 {
		summary["distanceInMeters"] = o.distance
		summary["averageSpeedInMetersPerSecond"] = o.distance / float64(o.moving)
		summary["averagePaceInMinutesPerKilometer"] = float64(o.moving) / 60 / (o.distance / 1000)
	}
	if route := o.route(); len(route) > 0 {
		summary["startingLatitudeInDegree"], summary["startingLongitudeInDegree"] = route[0].lat, route[0].lng
		summary["totalElevationGainInMeters"], summary["totalElevationLossInMeters"] = o.climb, o.climb
	}
	return summary
}
