package strava

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"

	"cairn/internal/activity"
	"cairn/internal/connection"
	"cairn/internal/text"
)

var _ activity.PullSource = adapter{}

// Rules implements activity.Source. Calls that no person asked for are rare: webhooks report changes, and the quota is
// small.
func (adapter) Rules() activity.Rules {
	return activity.Rules{
		Noun: "activities", Every: 12 * time.Hour, Keep: keep,
		Needs: []string{"activity:read_all", "activity:read"},
	}
}

// Newest implements activity.PullSource.
func (adapter) Newest(ctx context.Context, api connection.API, n int) ([]activity.Entry, error) {
	var answer activity.List[summary]
	if err := api.Get(ctx, "/athlete/activities", url.Values{"per_page": {strconv.Itoa(n)}}, &answer); err != nil {
		return nil, err
	}
	return answer, nil
}

// summary is the part of an activity that we read (docs/providers.md, 2.7).
type summary struct {
	ID             text.ID
	Name           string
	Type           string
	SportType      string          `json:"sport_type"`
	Distance       float64         // metres
	MovingTime     json.Number     `json:"moving_time"`
	ElapsedTime    activity.Amount `json:"elapsed_time"`
	ElevationGain  activity.Amount `json:"total_elevation_gain"`
	HeartRate      activity.Amount `json:"average_heartrate"`
	StartDate      time.Time       `json:"start_date"`
	StartDateLocal string          `json:"start_date_local"` // despite its Z
	UTCOffset      float64         `json:"utc_offset"`
	DeviceName     string          `json:"device_name"`
	Private        bool
	Map            struct {
		Polyline string `json:"summary_polyline"`
	}
}

// Entry returns the activity as an entry; ok is false if it makes no sense.
func (s summary) Entry() (activity.Entry, bool) {
	_, numbered := s.ID.Int64()
	return activity.Entry{
		ID: string(s.ID), Title: activity.Text(s.Name),
		Sport: activity.SportOf(s.SportType, s.Type), Kind: activity.SportInWords(s.SportType, s.Type),
		Page: "https://www.strava.com/activities/" + string(s.ID),
		At:   s.StartDate, Offset: activity.Offset(s.UTCOffset),
		DayOnly: strings.HasSuffix(s.StartDateLocal, "T00:00:01Z"),
		Metres:  activity.Metres(s.Distance), Seconds: activity.Seconds(s.MovingTime), Elapsed: int(s.ElapsedTime),
		Climb: float64(s.ElevationGain), Pulse: float64(s.HeartRate), Device: device(s.DeviceName),
		Private: s.Private, Route: activity.Draw(s.Map.Polyline),
	}, numbered && activity.Plausible(s.StartDate)
}

// device returns the credit that Garmin wants for what its devices have recorded, even if it comes from Strava.
func device(name string) string {
	if name = activity.Text(name); strings.HasPrefix(strings.ToLower(name), "garmin") {
		return name
	}
	return ""
}
