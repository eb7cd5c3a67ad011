// Package activity keeps the newest entries of each connection: Strava's and Garmin's activities, and
// Foursquare's check-ins. They make the last weeks of a person's days; there is no archive of them.
//
//	activity.go    what is kept, for how long, and reading it
//	fetch.go       asking a provider, and storing its answer
//	garmin.go      what Garmin pushes, and what it gives addresses for; it can't be asked
//	strava.go, foursquare.go   reading the answers of the others
//	items.go       lists of entries, and what is plausible in them
//	sport.go       kinds of sport, in words and as one of a few
//	drawing.go     a route as a picture
//
// An answer is read tolerantly: an entry that makes no sense is left out, and a field that makes
// none is left empty. Of a route only its shape is kept, as a drawing without a position.
package activity

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/oauth"
	"cairn/internal/seal"
)

// maxEntries is how many entries of a connection are kept.
const maxEntries = 30

const (
	// stravaEvery is between two calls nobody asked for: Strava tells of changes, and its quota is small.
	stravaEvery = 12 * time.Hour
	// foursquareEvery is shorter because its pushes may not be set up.
	foursquareEvery = 6 * time.Hour
	// keepFor is how long Strava lets us keep entries (docs/providers.md, 2.10). Foursquare's are not kept
	// longer. Garmin's come only once, and stay as long as the connection does.
	keepFor = 7 * 24 * time.Hour
)

// Entry is one activity or check-in.
type Entry struct {
	ID      string    `json:"id"` // the provider's
	Title   string    `json:"title"`
	Sport   Sport     `json:"sport,omitempty"`
	Kind    string    `json:"kind,omitempty"`  // "Trail run", "Café"
	Place   string    `json:"place,omitempty"` // city and country
	Page    string    `json:"page,omitempty"`  // its address at the provider
	At      time.Time `json:"at"`
	Offset  int       `json:"offset"`             // of the place's clock then, in seconds east of UTC
	DayOnly bool      `json:"day_only,omitempty"` // its person hides when it began
	Metres  float64   `json:"metres,omitempty"`
	Seconds int       `json:"seconds,omitempty"` // in motion
	Elapsed int       `json:"elapsed,omitempty"` // seconds, with pauses; 0: not known
	Climb   float64   `json:"climb,omitempty"`   // metres upwards
	Pulse   float64   `json:"pulse,omitempty"`   // beats a minute, on average
	Device  string    `json:"device,omitempty"`  // that recorded it, as far as it has to be credited: "Garmin Edge 840"
	Private bool      `json:"private,omitempty"` // only its person sees it at the provider
	Route   *Drawing  `json:"route,omitempty"`
}

// Local is when it began, by the clock of the place.
func (e Entry) Local() time.Time { return e.At.In(time.FixedZone("", e.Offset)) }

// End is when it ended, as far as that is known.
func (e Entry) End() time.Time {
	return e.At.Add(time.Duration(max(e.Elapsed, e.Seconds)) * time.Second)
}

// Latest is what is kept of one connection.
type Latest struct {
	AsOf     time.Time // zero: nothing came yet
	Entries  []Entry   // newest first
	Fresh    bool      // asked for so recently that asking again would bring nothing
	Fetching bool      // being brought up to date now
}

// Store keeps the entries of all people. Make it with New.
type Store struct {
	pool        *pgxpool.Pool
	sealer      *seal.Sealer
	connections *oauth.Store
}

// New returns the store in a database. What is secret of Garmin's addresses rests there sealed.
func New(pool *pgxpool.Pool, sealer *seal.Sealer, connections *oauth.Store) *Store {
	return &Store{pool, sealer, connections}
}

// fresh is for how long entries are taken for the newest.
const fresh = 15 * time.Second

// shownFetching is for how long a fetch is said to be under way: longer ones have met something.
const shownFetching = 30 * time.Second

// Of returns what is kept of a person's connections, by provider.
func (s *Store) Of(ctx context.Context, userID int64) (map[string]Latest, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT c.provider, COALESCE(l.as_of, '0001-01-01 00:00Z'), COALESCE(l.as_of > now() - $4::interval, false),
		       CASE WHEN c.provider = 'garmin' OR l.as_of > now() - $2::interval THEN l.entries ELSE '[]' END,
		       c.state <> 'needs_reconnect' AND COALESCE(c.retry_at <= now(), true)
		       AND EXISTS (SELECT FROM cairn.errands e WHERE e.identity_id = c.identity_id AND e.what = 'fetch'
		                   AND e.at > now() - $3::interval AND COALESCE(l.failed_at < e.at, true))
		FROM cairn.connections c LEFT JOIN cairn.latest l USING (identity_id)
		WHERE c.user_id = $1`, userID, keepFor, shownFetching, fresh)
	if err != nil {
		return nil, fmt.Errorf("activity: read entries of user %d: %w", userID, err)
	}
	all := map[string]Latest{}
	var provider string
	var l Latest
	_, err = pgx.ForEachRow(rows, []any{&provider, &l.AsOf, &l.Fresh, &l.Entries, &l.Fetching}, func() error {
		for i := range l.Entries {
			l.Entries[i].Sport = cmp.Or(l.Entries[i].Sport, earlierSport(l.Entries[i]))
		}
		all[provider] = l
		l = Latest{}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("activity: read entries of user %d: %w", userID, err)
	}
	return all, nil
}

// Old returns the subjects whose entries a provider has not been asked for in a while. Garmin can't be asked.
func (s *Store) Old(ctx context.Context, p *oauth.Provider) ([]string, error) {
	every := map[string]time.Duration{"strava": stravaEvery, "foursquare": foursquareEvery}[p.Key]
	if every == 0 {
		return nil, nil
	}
	rows, err := s.pool.Query(ctx, `
		SELECT i.subject FROM cairn.connections c
		JOIN cairn.identities i ON i.id = c.identity_id
		LEFT JOIN cairn.latest l USING (identity_id)
		WHERE c.provider = $1 AND c.state <> 'needs_reconnect' AND COALESCE(c.retry_at < now(), true)
		  AND COALESCE(l.tried_at < now() - $2::interval, true)
		ORDER BY l.tried_at NULLS FIRST LIMIT 1000`, p.Key, every)
	if err != nil {
		return nil, fmt.Errorf("activity: list old entries of %s: %w", p.Key, err)
	}
	subjects, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("activity: list old entries of %s: %w", p.Key, err)
	}
	return subjects, nil
}

// Sweep removes what may not be kept any longer: entries that are too old, entries that are not
// permitted any more (as Permitted says), and those of a connection that has long been without its
// person's consent.
func (s *Store) Sweep(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE cairn.latest l SET entries = '[]', as_of = NULL FROM cairn.connections c
		WHERE c.identity_id = l.identity_id AND l.as_of IS NOT NULL
		  AND (c.provider <> 'garmin' AND l.as_of < now() - $1::interval
		       OR c.provider = 'garmin' AND NOT c.granted && '{ACTIVITY_EXPORT}'
		       OR c.provider = 'strava' AND NOT c.granted && '{activity:read,activity:read_all}'
		       OR c.state = 'needs_reconnect' AND c.state_since < now() - $1::interval)`, keepFor)
	if err == nil {
		_, err = s.pool.Exec(ctx, `DELETE FROM cairn.pulls WHERE created_at < now() - $1::interval`, pullLife)
	}
	if err != nil {
		return fmt.Errorf("activity: sweep: %w", err)
	}
	return nil
}
