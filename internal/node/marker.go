package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"cairn/db"
)

// A session whose row is missing in the Node server's table was signed out there, unless all rows are missing: the
// table may be new, or an older copy. So a row of ours, the marker, is kept there while the way back is open. Once it
// is missing, the rows that were written before say nothing until they are written again. It changes every hour, so
// that an older copy does not have it. Nobody is signed in with it, and it never ends: that server deletes what has
// ended.

// counts is true for a mirror m whose row would be in the table if nobody had signed out.
func (s express) counts() string {
	return `EXISTS (SELECT FROM cairn.node_settings e JOIN ` + pgx.Identifier(s.Table).Sanitize() + ` k
		ON k.sid = e.marker WHERE m.written_at >= e.whole_since)`
}

// isNoMarker is true for rows of the table that are sessions.
const isNoMarker = `sid IS DISTINCT FROM (SELECT marker FROM cairn.node_settings)`

// keepMarker puts the marker into the table if it is not there, and changes it from time to time. A table that can't be
// used is noted.
func (s *Sessions) keepMarker(ctx context.Context) error {
	table := pgx.Identifier(s.Table).Sanitize()
	var old *string
	var fresh bool
	err := s.pool.QueryRow(ctx, `
		SELECT marker, EXISTS (SELECT FROM `+table+` n WHERE n.sid = e.marker) AND marked_at > now() - interval '1 hour'
		FROM cairn.node_settings e`).Scan(&old, &fresh)
	if err == nil && !fresh {
		err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return s.changeMarker(ctx, tx, table) })
	}
	switch {
	case err == nil || errors.Is(err, pgx.ErrNoRows):
		return nil
	case db.Transient(err):
		return fmt.Errorf("node: keep a marker in %s: %w", table, err)
	}
	s.trouble.note(err)
	return nil
}

func (s *Sessions) changeMarker(ctx context.Context, tx pgx.Tx, table string) error {
	var marked, whole bool
	err := tx.QueryRow(ctx, `SELECT marker IS NOT NULL FROM cairn.node_settings FOR UPDATE`).Scan(&marked)
	if err != nil {
		return fmt.Errorf("node: lock the marker: %w", err)
	}
	err = tx.QueryRow(ctx, `
		WITH old AS (
			DELETE FROM `+table+` WHERE sid = (SELECT marker FROM cairn.node_settings) RETURNING sid
		), new AS (
			INSERT INTO `+table+` (sid, sess, expire)
			VALUES ($1, '{"cookie":{"originalMaxAge":null}}', now()::timestamp + interval '100 years')
		)
		UPDATE cairn.node_settings SET marker = $1, marked_at = now(),
			whole_since = CASE WHEN EXISTS (SELECT FROM old) THEN whole_since ELSE clock_timestamp() END
		RETURNING EXISTS (SELECT FROM old)`, newSID()).Scan(&whole)
	if err != nil {
		return fmt.Errorf("node: change the marker in %s: %w", table, err)
	}
	if marked && !whole {
		s.trouble.log.WarnContext(ctx,
			"the Node server's table of sessions was emptied or replaced: that signs nobody out")
	}
	return nil
}
