package activity

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"cairn/internal/connection"
	"cairn/internal/oauth"
)

// Sync is what a sync job does for a connection. Requests for it are stored in cairn.sync_requests.
type Sync string

const (
	Check Sync = "check" // check the connection
	Fetch Sync = "fetch" // fetch the newest entries
)

// overdue is the age of a request that has lost its job.
const overdue = 10 * time.Minute

// request records a sync request for each of these subjects that is connected, and returns a job for each.
func request(ctx context.Context, tx pgx.Tx, provider string, subjects []string, what Sync) ([]river.JobArgs, error) {
	rows, err := tx.Query(ctx, `
		WITH connected AS (
			SELECT identity_id, subject FROM cairn.connections c
			WHERE provider = $1 AND subject = ANY($2) AND `+connection.OwnerEnabled+` ORDER BY identity_id FOR KEY SHARE
		), requested AS (
			INSERT INTO cairn.sync_requests (identity_id, kind) SELECT identity_id, $3 FROM connected
			ON CONFLICT (identity_id, kind) DO UPDATE
			SET number = EXCLUDED.number, requested_at = EXCLUDED.requested_at
		)
		SELECT subject FROM connected ORDER BY identity_id`, provider, subjects, what)
	if err != nil {
		return nil, fmt.Errorf("activity: record sync requests for %s: %w", provider, err)
	}
	var subject string
	var jobs []river.JobArgs
	_, err = pgx.ForEachRow(rows, []any{&subject}, func() error {
		jobs = append(jobs, syncJob{Provider: provider, Subject: subject})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("activity: record sync requests for %s: %w", provider, err)
	}
	return jobs, nil
}

// markAwaited marks a request as one that a person waits for.
func markAwaited(ctx context.Context, tx pgx.Tx, provider, subject string, what Sync) error {
	_, err := tx.Exec(ctx, `
		UPDATE cairn.sync_requests r SET awaited = true FROM cairn.connections c
		WHERE c.identity_id = r.identity_id AND c.provider = $1 AND c.subject = $2 AND r.kind = $3`,
		provider, subject, what)
	if err != nil {
		return fmt.Errorf("activity: mark a sync request for %s as awaited: %w", provider, err)
	}
	return nil
}

// requests are the sync requests of one connection, as they were read.
type requests struct {
	identityID, userID int64
	numbers            map[Sync]int64 // of the newest request for each; 0: there is no row
	pause              time.Duration  // until a requested fetch that comes too soon; 0: there is none
	awaited            bool           // a person waits
}

func (r requests) has(what Sync) bool { _, ok := r.numbers[what]; return ok }

// requestsOf reads the sync requests of a connection. If there are none, the job is the previous version's,
// whose jobs only checked. Two fetches are some time apart, because an upload of a hundred activities is
// not worth a hundred calls: a fetch that comes too soon is left out. Providers that send addresses are
// exempt, because each address leads to other entries. Errors: connection.ErrNotFound.
func (s *Store) requestsOf(ctx context.Context, p *oauth.Provider, subject string) (requests, error) {
	var rest time.Duration
	if CanAsk(p) {
		rest = s.limits.Rest
	}
	rows, err := s.pool.Query(ctx, `
		SELECT c.identity_id, c.user_id, COALESCE(r.kind, ''), COALESCE(r.number, 0),
		       CASE WHEN l.tried_at + $3::interval > now()
		            THEN l.tried_at + $3::interval - now() ELSE '0' END,
		       COALESCE(bool_or(r.awaited) OVER (), false)
		FROM cairn.connections c
		LEFT JOIN cairn.sync_requests r USING (identity_id)
		LEFT JOIN cairn.latest l USING (identity_id)
		WHERE c.provider = $1 AND c.subject = $2`, p.Key, subject, rest)
	if err != nil {
		return requests{}, fmt.Errorf("activity: read sync requests: %w", err)
	}
	found := requests{numbers: map[Sync]int64{}}
	var what Sync
	var number int64
	fields := []any{&found.identityID, &found.userID, &what, &number, &found.pause, &found.awaited}
	_, err = pgx.ForEachRow(rows, fields, func() error {
		if what != "" {
			found.numbers[what] = number
		}
		return nil
	})
	if err != nil {
		return requests{}, fmt.Errorf("activity: read sync requests: %w", err)
	}
	if found.identityID == 0 {
		return requests{}, connection.ErrNotFound
	}
	if len(found.numbers) == 0 {
		found.numbers[Check] = 0
	}
	if !found.has(Fetch) {
		found.pause = 0
	}
	if found.pause > 0 {
		delete(found.numbers, Fetch)
	}
	return found, nil
}

// remove deletes the requests that were carried out. A newer request for the same stays.
func (r requests) remove(ctx context.Context, pool *pgxpool.Pool) error {
	for what, number := range r.numbers {
		_, err := pool.Exec(ctx, `
			DELETE FROM cairn.sync_requests WHERE identity_id = $1 AND kind = $2 AND number = $3`,
			r.identityID, what, number)
		if err != nil {
			return fmt.Errorf("activity: delete a sync request for a %s: %w", what, err)
		}
	}
	return nil
}

var errRequestsLeft = errors.New("activity: there are more sync requests")

// noneLeft returns errRequestsLeft if the connection has requests.
func (r requests) noneLeft(ctx context.Context, tx pgx.Tx) error {
	var more bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM cairn.sync_requests WHERE identity_id = $1)`, r.identityID).Scan(&more)
	switch {
	case err != nil:
		return fmt.Errorf("activity: look for sync requests: %w", err)
	case more:
		return errRequestsLeft
	}
	return nil
}

// overdueSyncs returns a job for each connection whose requests are overdue: at most 1,000, chosen at random, so that
// none waits behind those of a provider that is paused.
func (s *Store) overdueSyncs(ctx context.Context) (jobs []river.JobArgs, err error) {
	rows, err := s.pool.Query(ctx, `
		SELECT c.provider, c.subject FROM cairn.sync_requests r
		JOIN cairn.connections c USING (identity_id)
		WHERE r.requested_at < now() - $1::interval
		GROUP BY c.provider, c.subject ORDER BY random() LIMIT 1000`, overdue)
	if err != nil {
		return nil, fmt.Errorf("activity: list overdue sync requests: %w", err)
	}
	var job syncJob
	_, err = pgx.ForEachRow(rows, []any{&job.Provider, &job.Subject}, func() error {
		jobs = append(jobs, job)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("activity: list overdue sync requests: %w", err)
	}
	return jobs, nil
}
