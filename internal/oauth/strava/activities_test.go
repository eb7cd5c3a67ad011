package strava

import (
	"cmp"
	"encoding/json"
	"testing"
	"time"

	"cairn/internal/activity"
)

// An odd entry or field is left out, and nothing else.
func TestOddEntries(t *testing.T) {
	t.Parallel()
	strava := func(fields string) string {
		return `{"id":9007199254740993,"name":"x","start_date":"2025-10-18T12:49:52Z"` + fields + `}`
	}
	at := time.Date(2025, 10, 18, 12, 49, 52, 0, time.UTC)
	for in, want := range map[string]activity.Entry{
		strava(`,"utc_offset":7200.0,"distance":1,"moving_time":60,"sport_type":"Run"`): {
			Offset: 7200, Metres: 1, Seconds: 60, Sport: activity.Run, Kind: "Run",
		},
		strava(`,"elapsed_time":90,"total_elevation_gain":12.5,"average_heartrate":139.6`): {
			Elapsed: 90, Climb: 12.5, Pulse: 139.6,
		},
		strava(`,"elapsed_time":"x","total_elevation_gain":-3,"average_heartrate":null`): {},
		strava(`,"utc_offset":1e9,"distance":-5,"moving_time":-1`):                       {},
		strava(`,"map":null,"private":true,"device_name":"Wahoo"`):                       {Private: true},
		strava(`,"device_name":"Garmin Edge 840","type":"Ride"`): {
			Device: "Garmin Edge 840", Sport: activity.Ride, Kind: "Ride",
		},
		strava(`,"start_date_local":"2025-10-18T00:00:01Z"`): {DayOnly: true},
	} {
		want.ID, want.Title, want.At, want.Sport = "9007199254740993", "x", at, cmp.Or(want.Sport, activity.Gym)
		want.Page = "https://www.strava.com/activities/9007199254740993"
		var got activity.List[summary]
		if err := json.Unmarshal([]byte(`[7,`+in+`,{"id":"x"}]`), &got); err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%s: got %+v, error %v", in, got, err)
		}
	}
	for _, in := range []string{
		`{}`,
		`{"id":0,"start_date":"2025-10-18T12:49:52Z"}`,
		`{"id":7}`,
		`{"id":7,"start_date":"0001-01-01T00:00:00Z"}`,
		`{"id":7,"start_date":"x"}`,
	} {
		var got activity.List[summary]
		if _ = json.Unmarshal([]byte(`[`+in+`]`), &got); len(got) != 0 {
			t.Errorf("%s: got %+v", in, got)
		}
	}
	for _, in := range []string{`{"error":"x"}`, `null`, `[7,"x"]`} {
		var got activity.List[summary]
		if json.Unmarshal([]byte(in), &got) == nil {
			t.Errorf("%s counts as a list", in)
		}
	}
}
