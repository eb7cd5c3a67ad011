package foursquare

import (
	"cmp"
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

// Rules implements activity.Source. Calls that no person asked for are more frequent than at other providers, because
// pushes may not be set up.
func (adapter) Rules() activity.Rules {
	return activity.Rules{Noun: "check-ins", Every: 6 * time.Hour, Keep: keep}
}

// Newest implements activity.PullSource.
func (adapter) Newest(ctx context.Context, api connection.API, n int) ([]activity.Entry, error) {
	var answer checkins
	query := url.Values{"limit": {strconv.Itoa(n)}, "sort": {"newestfirst"}}
	if err := api.Get(ctx, "/users/self/checkins", query, &answer); err != nil {
		return nil, err
	}
	return answer.entries, nil
}

// checkins is the part of the envelope that we read.
type checkins struct{ entries activity.List[checkin] }

func (c *checkins) UnmarshalJSON(text []byte) error {
	var envelope struct {
		Response struct {
			Checkins struct{ Items json.RawMessage }
		}
	}
	if err := json.Unmarshal(text, &envelope); err != nil {
		return err
	}
	return json.Unmarshal(envelope.Response.Checkins.Items, &c.entries)
}

// checkin is the part of a check-in that we read (docs/providers.md, 4.5).
type checkin struct {
	ID             text.ID
	CreatedAt      int64
	TimeZoneOffset float64 // minutes
	Visibility     string
	Private        bool // of older ones
	Venue          struct {
		ID         text.ID
		Name       string
		Location   struct{ City, State, Country string }
		Categories []struct {
			Name    string
			Primary bool
		}
	}
}

// Entry returns the check-in as an entry; ok is false if it makes no sense.
func (c checkin) Entry() (activity.Entry, bool) {
	at := time.Unix(c.CreatedAt, 0)
	location := c.Venue.Location
	e := activity.Entry{
		ID: string(c.ID), Sport: activity.Place,
		Title: cmp.Or(activity.Text(c.Venue.Name), "A place that Foursquare does not list any more"),
		Place: activity.Text(joined(cmp.Or(location.City, location.State), location.Country)),
		At:    at, Offset: activity.Offset(c.TimeZoneOffset * 60),
		Private: c.Private || c.Visibility == "private",
	}
	for _, category := range c.Venue.Categories {
		if e.Kind == "" || category.Primary {
			e.Kind = activity.Text(category.Name)
		}
	}
	if c.Venue.ID != "" {
		e.Page = "https://foursquare.com/v/" + url.PathEscape(string(c.Venue.ID))
	}
	return e, c.ID != "" && activity.Plausible(at)
}

func joined(parts ...string) string {
	var there []string
	for _, part := range parts {
		if part != "" {
			there = append(there, part)
		}
	}
	return strings.Join(there, ", ")
}
