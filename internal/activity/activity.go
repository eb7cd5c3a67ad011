// Package activity keeps the newest entries of each connection: activities and check-ins. Pages show them as the last
// weeks of a person's days; older ones are not kept.
//
//	activity.go  what is stored, for how long, and reading it
//	source.go    what a provider with entries implements
//	fetch.go     asking a provider, and storing its answer
//	sync.go      the sync job: checking a connection that may have changed, and fetching
//	request.go   requests for a sync, one row each
//	push.go      entries that providers send, and addresses of entries
//	sweep.go     removing what may no longer be kept
//	export.go    entries in the archive that a person downloads
//	reading.go   reading providers' lists of entries
//	sport.go     kinds of sport, in words and as one of a few
//	drawing.go   a route as a picture
//
// Answers are read tolerantly: an entry that makes no sense is left out, and a field that makes no sense is left empty.
// Of a route only the shape is kept, as a drawing without a position.
package activity

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/seal"
)

// maxEntries is how many entries of a connection are kept.
const maxEntries = 30

// Entry is one activity or check-in.
type Entry struct {
	ID      string    `json:"id"` // the provider's
	Title   string    `json:"title"`
	Sport   Sport     `json:"sport,omitempty"`
	Kind    string    `json:"kind,omitempty"`  // "Trail run", "Café"
	Place   string    `json:"place,omitempty"` // city and country
	Page    string    `json:"page,omitempty"`  // its address at the provider
	At      time.Time `json:"at"`
	Offset  int       `json:"offset"`             // of local time at the place, in seconds east of UTC
	DayOnly bool      `json:"day_only,omitempty"` // the person hides the time of day
	Metres  float64   `json:"metres,omitempty"`
	Seconds int       `json:"seconds,omitempty"` // in motion
	Elapsed int       `json:"elapsed,omitempty"` // seconds, with pauses; 0: not known
	Climb   float64   `json:"climb,omitempty"`   // metres upwards
	Pulse   float64   `json:"pulse,omitempty"`   // beats a minute, on average
	Device  string    `json:"device,omitempty"`  // that recorded it, if its maker wants to be credited
	Private bool      `json:"private,omitempty"` // at the provider, only the person sees it
	Route   *Drawing  `json:"route,omitempty"`
}

// Local is when it began, in local time at the place.
func (e Entry) Local() time.Time { return e.At.In(time.FixedZone("", e.Offset)) }

// End is when it ended, or when it began if no duration is known.
func (e Entry) End() time.Time {
	return e.At.Add(time.Duration(max(e.Elapsed, e.Seconds)) * time.Second)
}

// Latest is what is kept of one connection.
type Latest struct {
	AsOf     time.Time // zero: nothing has come yet
	Entries  []Entry   // newest first
	Fresh    bool      // so recent that asking again would bring nothing
	Fetching bool      // a fetch is under way
	ReadAt   time.Time // by the database's clock, as AsOf
}

// Full reports whether there may be older entries, which are not kept.
func (l Latest) Full() bool { return len(l.Entries) >= maxEntries }

// Deps are what a store needs.
type Deps struct {
	Pool        *pgxpool.Pool
	Sealer      *seal.Sealer // seals the addresses that providers sent
	Connections *connection.Store
	Providers   oauth.Registry
	Syncs       *SyncQueue
	Limits      Limits
}

// Store keeps the entries of all people, and enqueues their syncs. Make it with New.
type Store struct {
	*SyncQueue
	pool        *pgxpool.Pool
	sealer      *seal.Sealer
	connections *connection.Store
	providers   oauth.Registry
	limits      Limits
}

// New returns the store in a database.
func New(d Deps) *Store {
	return &Store{
		SyncQueue: d.Syncs, pool: d.Pool, sealer: d.Sealer, connections: d.Connections, providers: d.Providers,
		limits: d.Limits.orDefaults(),
	}
}

// Limits are the time limits of a store. Where one is 0, the default stands.
type Limits struct {
	Rest     time.Duration // between two fetches for one connection: 15 s
	Fresh    time.Duration // how long entries count as Fresh: 15 s
	Fetching time.Duration // how long a fetch counts as under way, since a longer one failed or waits: 30 s
}

func (l Limits) orDefaults() Limits {
	return Limits{
		Rest:     cmp.Or(l.Rest, 15*time.Second),
		Fresh:    cmp.Or(l.Fresh, 15*time.Second),
		Fetching: cmp.Or(l.Fetching, 30*time.Second),
	}
}

// Of returns what is kept of a person's connections, by provider.
func (s *Store) Of(ctx context.Context, userID int64) (map[string]Latest, error) {
	return s.of(ctx, userID, true)
}

// WithoutEntries is Of for pages that show no entries: those are not read.
func (s *Store) WithoutEntries(ctx context.Context, userID int64) (map[string]Latest, error) {
	return s.of(ctx, userID, false)
}

func (s *Store) of(ctx context.Context, userID int64, entries bool) (map[string]Latest, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT c.provider, COALESCE(l.as_of, '0001-01-01 00:00Z'), COALESCE(l.as_of > now() - $3::interval, false),
		       CASE WHEN $4 THEN l.entries END, COALESCE(now() - l.as_of, '0'), now(),
		       c.state <> 'needs_reconnect' AND COALESCE(c.retry_at <= now(), true)
		       AND EXISTS (SELECT FROM cairn.sync_requests r WHERE r.identity_id = c.identity_id AND r.kind = 'fetch'
		                   AND r.requested_at > now() - $2::interval
		                   AND COALESCE(l.failed_at < r.requested_at, true))
		FROM cairn.connections c LEFT JOIN cairn.latest l USING (identity_id)
		WHERE c.user_id = $1`, userID, s.limits.Fetching, s.limits.Fresh, entries)
	if err != nil {
		return nil, fmt.Errorf("activity: read entries of user %d: %w", userID, err)
	}
	all := map[string]Latest{}
	var provider string
	var l Latest
	var age time.Duration
	_, err = pgx.ForEachRow(rows, []any{
		&provider, &l.AsOf, &l.Fresh, &l.Entries, &age, &l.ReadAt, &l.Fetching,
	}, func() error {
		if keep := s.keep(provider); keep > 0 && age >= keep {
			l.Entries = nil
		}
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

// keep returns how long entries of a provider may be kept; 0: as long as the connection.
func (s *Store) keep(provider string) time.Duration {
	for _, p := range s.providers {
		if p.Key == provider {
			rules, _ := RulesOf(p)
			return rules.Keep
		}
	}
	return 0
}

// old returns the subjects whose entries a provider has not been asked for in a while; none if it can't be asked.
func (s *Store) old(ctx context.Context, p *oauth.Provider) ([]string, error) {
	rules, _ := RulesOf(p)
	if !CanAsk(p) {
		return nil, nil
	}
	rows, err := s.pool.Query(ctx, `
		SELECT c.subject FROM cairn.connections c
		LEFT JOIN cairn.latest l USING (identity_id)
		WHERE c.provider = $1 AND c.state <> 'needs_reconnect' AND COALESCE(c.retry_at < now(), true)
		  AND COALESCE(l.tried_at < now() - $2::interval, true)
		ORDER BY l.tried_at NULLS FIRST LIMIT 1000`, p.Key, rules.Every)
	if err != nil {
		return nil, fmt.Errorf("activity: list old entries of %s: %w", p.Key, err)
	}
	subjects, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("activity: list old entries of %s: %w", p.Key, err)
	}
	return subjects, nil
}
