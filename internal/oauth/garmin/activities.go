package garmin

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"cairn/internal/activity"
	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/text"
)

var _ activity.PushSource = adapter{}

// Rules implements activity.Source. Garmin's activities come only once, so they stay as long as the connection does.
func (adapter) Rules() activity.Rules {
	return activity.Rules{
		Noun:    "activities",
		Arrival: "Garmin sends new activities as soon as your watch has synced.",
		Needs:   []string{"ACTIVITY_EXPORT"},
	}
}

// backfill is how far back Garmin lets us ask, and what it calls the permission for it (docs/providers.md, 3.5).
const (
	backfill           = 30 * 24 * time.Hour
	backfillPermission = "HISTORICAL_DATA_EXPORT"
)

// Backfill implements activity.PushSource.
func (adapter) Backfill(ctx context.Context, api connection.API, granted []string, now time.Time) error {
	if !slices.Contains(granted, backfillPermission) {
		return nil
	}
	query := url.Values{
		"summaryStartTimeInSeconds": {strconv.FormatInt(now.Add(-backfill).Unix(), 10)},
		"summaryEndTimeInSeconds":   {strconv.FormatInt(now.Unix(), 10)},
	}
	err := api.Get(ctx, "/wellness-api/rest/backfill/activities", query, nil)
	if errors.Is(err, oauth.ErrNotServed) || errors.Is(err, oauth.ErrNotPermitted) {
		return nil
	}
	return err
}

// Follow implements activity.PushSource. A stranger may have named the address, so a refusal is oauth.ErrNotServed: it
// says nothing about the connection. The address contains its own proof. Garmin has refused requests that also had our
// token, and requests that lacked it, so we try without it first (docs/providers.md, 3.5).
func (adapter) Follow(ctx context.Context, api connection.API, address string) ([]activity.Entry, error) {
	if !api.Provider().Owns(address) {
		return nil, oauth.ErrNotServed
	}
	var answer activity.List[summary]
	err := api.Call(ctx, func(c *oauth.Caller, accessToken string) error {
		err := follow(ctx, c, address, "", &answer)
		if errors.Is(err, oauth.ErrRefused) || errors.Is(err, oauth.ErrNotServed) {
			err = follow(ctx, c, address, accessToken, &answer)
		}
		if errors.Is(err, oauth.ErrRefused) {
			return errors.Join(oauth.ErrNotServed, err)
		}
		return err
	})
	return answer, err
}

func follow(ctx context.Context, c *oauth.Caller, address, accessToken string, out any) error {
	r, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return oauth.ErrNotServed // the cause quotes the address
	}
	if accessToken != "" {
		oauth.Bearer(r, accessToken)
	}
	return c.Call(ctx, "data", r, out)
}

// summary is the part of an activity that we read (docs/providers.md, 3.6).
type summary struct {
	SummaryID                text.ID
	ActivityType             string
	ActivityName             string
	StartTimeInSeconds       int64
	StartTimeOffsetInSeconds float64
	DurationInSeconds        json.Number
	DistanceInMeters         float64
	ElevationGain            activity.Amount `json:"totalElevationGainInMeters"`
	HeartRate                activity.Amount `json:"averageHeartRateInBeatsPerMinute"`
	DeviceName               string
	ParentSummaryID          json.RawMessage // of a part of an activity
}

// Entry returns the activity as an entry; ok is false if it makes no sense, or is part of another activity.
func (s summary) Entry() (activity.Entry, bool) {
	at := time.Unix(s.StartTimeInSeconds, 0)
	kind := activity.SportInWords(s.ActivityType)
	whole := len(s.ParentSummaryID) == 0 || bytes.Equal(s.ParentSummaryID, []byte("null"))
	return activity.Entry{
		ID: string(s.SummaryID), Title: cmp.Or(activity.Text(s.ActivityName), kind, "Activity"),
		Sport: activity.SportOf(s.ActivityType), Kind: kind,
		At: at, Offset: activity.Offset(s.StartTimeOffsetInSeconds), Metres: activity.Metres(s.DistanceInMeters),
		Seconds: activity.Seconds(s.DurationInSeconds), Climb: float64(s.ElevationGain), Pulse: float64(s.HeartRate),
		Device: device(s.DeviceName),
	}, whole && s.SummaryID != "" && len(s.SummaryID) <= activity.MaxText && activity.Plausible(at)
}

// device returns the credit that Garmin wants, whatever the device is called: "Garmin Edge 840".
func device(name string) string {
	name = activity.Text(name)
	switch {
	case strings.HasPrefix(strings.ToLower(name), "garmin"):
		return name
	case name == "" || strings.EqualFold(name, "unknown"):
		return "Garmin"
	}
	return "Garmin " + name
}
