package activity

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"

	"cairn/internal/oauth"
	"cairn/internal/text"
)

// stravaActivity is what is read of one (docs/providers.md, 2.7).
type stravaActivity struct {
	ID             text.ID
	Name           string
	Type           string
	SportType      string      `json:"sport_type"`
	Distance       float64     // metres
	MovingTime     json.Number `json:"moving_time"`
	ElapsedTime    amount      `json:"elapsed_time"`
	ElevationGain  amount      `json:"total_elevation_gain"`
	HeartRate      amount      `json:"average_heartrate"`
	StartDate      time.Time   `json:"start_date"`
	StartDateLocal string      `json:"start_date_local"` // its Z is false
	UTCOffset      float64     `json:"utc_offset"`
	DeviceName     string      `json:"device_name"`
	Private        bool
	Map            struct {
		Polyline string `json:"summary_polyline"`
	}
}

func (s *Store) askStrava(ctx context.Context, p *oauth.Provider, userID int64) ([]Entry, error) {
	var answer items[stravaActivity]
	query := url.Values{"per_page": {strconv.Itoa(maxEntries)}}
	if err := s.connections.Get(ctx, p, userID, "/athlete/activities", query, &answer); err != nil {
		return nil, err
	}
	return answer, nil
}

func (a stravaActivity) entry() (Entry, bool) {
	_, numbered := a.ID.Int64()
	return Entry{
		ID: string(a.ID), Title: presentable(a.Name),
		Sport: sportOf(a.SportType, a.Type), Kind: sportInWords(a.SportType, a.Type),
		Page: "https://www.strava.com/activities/" + string(a.ID),
		At:   a.StartDate, Offset: offset(a.UTCOffset), DayOnly: strings.HasSuffix(a.StartDateLocal, "T00:00:01Z"),
		Metres: positive(a.Distance), Seconds: seconds(a.MovingTime), Elapsed: int(a.ElapsedTime),
		Climb: float64(a.ElevationGain), Pulse: float64(a.HeartRate), Device: garminDevice(a.DeviceName, false),
		Private: a.Private, Route: draw(a.Map.Polyline),
	}, numbered && plausible(a.StartDate)
}
