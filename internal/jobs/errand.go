package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/oauth"
)

// Errand is what a connection is visited for.
type Errand string

const (
	Check Errand = "check" // ask the provider how the connection is
	Fetch Errand = "fetch" // bring the newest entries
)

const (
	// overdue is an errand whose job was lost, stale one that did not succeed for so long that it is not worth more.
	overdue, stale = 10 * time.Minute, 24 * time.Hour
)

// note writes down that something is to be done about the connections to subjects, and returns those subjects that
// somebody has connected.
func note(ctx context.Context, tx pgx.Tx, provider string, subjects []string, what Errand) ([]string, error) {
	rows, err := tx.Query(ctx, `
		WITH connected AS (
			SELECT c.identity_id, i.subject FROM cairn.identities i
			JOIN cairn.connections c ON c.identity_id = i.id
			WHERE i.provider = $1 AND i.subject = ANY($2) ORDER BY c.identity_id FOR KEY SHARE OF c
		), noted AS (
			INSERT INTO cairn.errands (identity_id, what) SELECT identity_id, $3 FROM connected
			ON CONFLICT (identity_id, what) DO UPDATE SET reason = EXCLUDED.reason, at = EXCLUDED.at
		)
		SELECT subject FROM connected ORDER BY identity_id`, provider, subjects, what)
	if err != nil {
		return nil, fmt.Errorf("jobs: note errands to %s: %w", provider, err)
	}
	connected, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("jobs: note errands to %s: %w", provider, err)
	}
	return connected, nil
}

// markAwaited marks what was noted about a connection as something that a person waits for.
func markAwaited(ctx context.Context, tx pgx.Tx, provider, subject string, what Errand) error {
	_, err := tx.Exec(ctx, `
		UPDATE cairn.errands e SET awaited = true FROM cairn.identities i
		WHERE i.id = e.identity_id AND i.provider = $1 AND i.subject = $2 AND e.what = $3`, provider, subject, what)
	if err != nil {
		return fmt.Errorf("jobs: note that a person waits for %s: %w", provider, err)
	}
	return nil
}

// errands are what one connection is to be visited for, each with the newest reason when they were read.
type errands struct {
	identityID, userID int64
	reasons            map[Errand]int64
	rest               time.Duration // until the fetch that there is another reason for; 0: none
	awaited            bool          // a person waits
}

func (e errands) has(what Errand) bool { _, ok := e.reasons[what]; return ok }

// errandsOf reads what there is to do about a connection. If nothing is noted, the version before this one put the
// job aside, which only checked. A fetch has to rest for a while after the last one, because an upload of a hundred
// activities is not worth a hundred calls, and is left out then; Garmin's addresses are good for what they were given
// for only. Errors: oauth.ErrNotFound.
func errandsOf(ctx context.Context, d Deps, provider, subject string) (errands, error) {
	rows, err := d.Pool.Query(ctx, `
		SELECT c.identity_id, c.user_id, COALESCE(e.what, ''), COALESCE(e.reason, 0),
		       CASE WHEN i.provider <> 'garmin' AND l.tried_at + $3::interval > now()
		            THEN l.tried_at + $3::interval - now() ELSE '0' END,
		       COALESCE(bool_or(e.awaited) OVER (), false)
		FROM cairn.identities i
		JOIN cairn.connections c ON c.identity_id = i.id
		LEFT JOIN cairn.errands e USING (identity_id)
		LEFT JOIN cairn.latest l USING (identity_id)
		WHERE i.provider = $1 AND i.subject = $2`, provider, subject, d.Limits.Rest)
	if err != nil {
		return errands{}, fmt.Errorf("jobs: read errands: %w", err)
	}
	found := errands{reasons: map[Errand]int64{}}
	var what Errand
	var reason int64
	fields := []any{&found.identityID, &found.userID, &what, &reason, &found.rest, &found.awaited}
	_, err = pgx.ForEachRow(rows, fields, func() error {
		if what != "" {
			found.reasons[what] = reason
		}
		return nil
	})
	if err != nil {
		return errands{}, fmt.Errorf("jobs: read errands: %w", err)
	}
	if found.identityID == 0 {
		return errands{}, oauth.ErrNotFound
	}
	if len(found.reasons) == 0 {
		found.reasons[Check] = 0
	}
	if !found.has(Fetch) {
		found.rest = 0
	}
	if found.rest > 0 {
		delete(found.reasons, Fetch)
	}
	return found, nil
}

// done crosses out what was done. A reason that has come up since stays.
func (e errands) done(ctx context.Context, pool *pgxpool.Pool) error {
	for what, reason := range e.reasons {
		if _, err := pool.Exec(ctx, `DELETE FROM cairn.errands WHERE identity_id = $1 AND what = $2 AND reason = $3`,
			e.identityID, what, reason); err != nil {
			return fmt.Errorf("jobs: cross out %s: %w", what, err)
		}
	}
	return nil
}

var errMoreToDo = errors.New("jobs: there is more to do")

// left is errMoreToDo if the connection has errands.
func (e errands) left(ctx context.Context, tx pgx.Tx) error {
	var more bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM cairn.errands WHERE identity_id = $1)`, e.identityID).Scan(&more)
	switch {
	case err != nil:
		return fmt.Errorf("jobs: look for errands: %w", err)
	case more:
		return errMoreToDo
	}
	return nil
}

// overdueErrands forgets what is stale and returns the visits that nobody makes any more.
func overdueErrands(ctx context.Context, pool *pgxpool.Pool) ([]revisit, error) {
	if _, err := pool.Exec(ctx, `DELETE FROM cairn.errands WHERE at < now() - $1::interval`, stale); err != nil {
		return nil, fmt.Errorf("jobs: forget stale errands: %w", err)
	}
	rows, err := pool.Query(ctx, `
		SELECT DISTINCT i.provider, i.subject, 0 FROM cairn.errands e
		JOIN cairn.identities i ON i.id = e.identity_id
		WHERE e.at < now() - $1::interval LIMIT 1000`, overdue)
	if err != nil {
		return nil, fmt.Errorf("jobs: list overdue errands: %w", err)
	}
	visits, err := pgx.CollectRows(rows, pgx.RowToStructByPos[revisit])
	if err != nil {
		return nil, fmt.Errorf("jobs: list overdue errands: %w", err)
	}
	return visits, nil
}
