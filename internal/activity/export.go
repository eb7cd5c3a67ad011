package activity

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Exported is an entry in the archive that its owner downloads.
type Exported struct {
	Provider         string    `json:"provider"`
	ID               string    `json:"id"` // the provider's
	Title            string    `json:"title"`
	Sport            Sport     `json:"sport"`
	Kind             string    `json:"kind"` // the provider's word
	Place            string    `json:"place"`
	URL              string    `json:"url"` // at the provider
	StartedAt        time.Time `json:"started_at"`
	UTCOffsetSeconds int       `json:"utc_offset_seconds"` // of local time at the place
	TimeHidden       bool      `json:"time_hidden"`        // only the day is known
	DistanceMetres   float64   `json:"distance_metres"`    // 0: not known, as for the next four
	MovingSeconds    int       `json:"moving_seconds"`
	ElapsedSeconds   int       `json:"elapsed_seconds"`
	ClimbMetres      float64   `json:"climb_metres"`
	HeartRate        float64   `json:"heart_rate"` // beats a minute, on average
	Device           string    `json:"device"`
	Private          bool      `json:"private"`
	Drawing          *Drawing  `json:"drawing"` // the shape of the route
	FetchedAt        time.Time `json:"fetched_at"`
}

// Export returns the entries of one of a user's connections, those that pages may show, and the key of the next one; 0:
// none.
func (s *Store) Export(ctx context.Context, userID, after int64) (entries []Exported, next int64, err error) {
	var provider string
	var l Latest
	var age time.Duration
	err = s.pool.QueryRow(ctx, `
		SELECT identity_id, c.provider, l.entries, COALESCE(l.as_of, '0001-01-01 00:00Z'),
		       COALESCE(now() - l.as_of, '0')
		FROM cairn.connections c JOIN cairn.latest l USING (identity_id)
		WHERE c.user_id = $1 AND identity_id > $2 ORDER BY identity_id LIMIT 1`, userID, after).
		Scan(&next, &provider, &l.Entries, &l.AsOf, &age)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("activity: export entries of user %d: %w", userID, err)
	}
	if keep := s.keep(provider); keep > 0 && age >= keep {
		l.Entries = nil
	}
	for _, e := range l.Entries {
		entries = append(entries, e.exported(provider, l.AsOf))
	}
	return entries, next, nil
}

func (e Entry) exported(provider string, fetched time.Time) Exported {
	return Exported{
		Provider: provider, ID: e.ID, Title: e.Title, Sport: cmp.Or(e.Sport, earlierSport(e)), Kind: e.Kind,
		Place: e.Place, URL: e.Page, StartedAt: e.At.UTC(), UTCOffsetSeconds: e.Offset, TimeHidden: e.DayOnly,
		DistanceMetres: e.Metres, MovingSeconds: e.Seconds, ElapsedSeconds: e.Elapsed, ClimbMetres: e.Climb,
		HeartRate: e.Pulse, Device: e.Device, Private: e.Private, Drawing: e.Route, FetchedAt: fetched.UTC(),
	}
}
