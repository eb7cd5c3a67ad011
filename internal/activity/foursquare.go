package activity

import (
	"cmp"
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"

	"cairn/internal/oauth"
	"cairn/internal/text"
)

// checkin is what is read of one (docs/providers.md, 4.5).
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

func (s *Store) askFoursquare(ctx context.Context, p *oauth.Provider, userID int64) ([]Entry, error) {
	var answer checkins
	query := url.Values{"limit": {strconv.Itoa(maxEntries)}, "sort": {"newestfirst"}}
	if err := s.connections.Get(ctx, p, userID, "/users/self/checkins", query, &answer); err != nil {
		return nil, err
	}
	return answer.items, nil
}

// checkins are what is read of Foursquare's envelope.
type checkins struct{ items items[checkin] }

func (c *checkins) UnmarshalJSON(text []byte) error {
	var envelope struct {
		Response struct {
			Checkins struct{ Items json.RawMessage }
		}
	}
	if err := json.Unmarshal(text, &envelope); err != nil {
		return err
	}
	return json.Unmarshal(envelope.Response.Checkins.Items, &c.items)
}

func (c checkin) entry() (Entry, bool) {
	at := time.Unix(c.CreatedAt, 0)
	location := c.Venue.Location
	e := Entry{
		ID: string(c.ID), Sport: Place, Title: cmp.Or(presentable(c.Venue.Name), "A place that Foursquare does not list any more"),
		Place: presentable(joined(cmp.Or(location.City, location.State), location.Country)),
		At:    at, Offset: offset(c.TimeZoneOffset * 60),
		Private: c.Private || c.Visibility == "private",
	}
	for _, category := range c.Venue.Categories {
		if e.Kind == "" || category.Primary {
			e.Kind = presentable(category.Name)
		}
	}
	if c.Venue.ID != "" {
		e.Page = "https://foursquare.com/v/" + url.PathEscape(string(c.Venue.ID))
	}
	return e, c.ID != "" && plausible(at)
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
