package node

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/db"
	"cairn/internal/config"
)

// When an operator ends sessions, this includes those that are still only at the Node server and would be adopted
// later. If one user's sessions end, none of theirs is adopted any more. If all end, none is adopted that is in the
// table then, or may have begun before. The mark for this is written before our sessions end, and claims lock it: an
// adoption that is under way either ends with the other sessions, or is refused.

// endedUpTo is the moment up to which sessions there must not have begun, year 1 if all were never ended; e is
// cairn.node_settings. That server's clock, which says when one began, may be ahead of the database's.
const endedUpTo = `COALESCE(e.ended_since + interval '1 hour', '0001-01-01 00:00Z')`

// EndSessions is part of ending a user's sessions, or everybody's if userID is 0. end ends ours. While the way back is
// open, they end at the Node server, too. It returns what is to be said of those that go on there.
func EndSessions(
	ctx context.Context, tx pgx.Tx, c config.Config, userID int64, end func() error,
) (said string, err error) {
	s := express{c.Node.Sessions}
	statement, args := `UPDATE cairn.node_settings SET ended_since = now()`, []any(nil)
	if userID != 0 {
		statement, args = `UPDATE cairn.node_users SET ended_since = now() WHERE user_id = $1`, []any{userID}
	}
	if _, err := tx.Exec(ctx, statement, args...); err != nil {
		return "", fmt.Errorf("node: adopt no sessions that are ended: %w", err)
	}
	var notes []string
	if userID == 0 {
		if notes, err = s.noteAll(ctx, tx); err != nil {
			return "", err
		}
	}
	if err := end(); err != nil {
		return "", err
	}
	switch {
	case c.Node.Both:
		said, err = endAtNode(ctx, tx, s, userID)
	case !s.Until.IsZero():
		said = "the Node server goes on accepting its sessions, if it gets requests"
	}
	if said != "" {
		notes = append(notes, said)
	}
	return strings.Join(notes, "\nnote: "), err
}

// noteAll notes that all sessions that are at the Node server now have ended. Where they can't be read, none is adopted
// any more, and it returns what is to be said.
func (s express) noteAll(ctx context.Context, tx pgx.Tx) (notes []string, err error) {
	failed := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error { return s.noteEnded(ctx, tx) })
	if failed == nil || db.Transient(failed) {
		return nil, failed
	}
	_, err = tx.Exec(ctx, `UPDATE cairn.node_settings SET ended_since = now() + interval '100 years'`)
	if err != nil {
		return nil, fmt.Errorf("node: adopt no sessions any more: %w", err)
	}
	return []string{fmt.Sprintf("sessions of the Node server don't come over any more, because it can't be told which "+
		"began before: %v. Mend that, and end all sessions again", failed)}, nil
}

// noteBatch is how many sessions are noted at once.
const noteBatch = 10_000

// noteEnded notes the sessions in the table, in batches. A table that is missing has none, unless sessions are adopted.
func (s express) noteEnded(ctx context.Context, tx pgx.Tx) error {
	table := pgx.Identifier(s.Table).Sanitize()
	var there bool
	if err := tx.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL`, table).Scan(&there); err != nil {
		return fmt.Errorf("node: look for %s: %w", table, err)
	}
	if !there && s.Until.IsZero() {
		return nil
	}
	for last, n := "", noteBatch; n == noteBatch; {
		err := tx.QueryRow(ctx, `
			WITH part AS (
				SELECT sid FROM `+table+` WHERE sid > $1 AND `+isNoMarker+` ORDER BY sid LIMIT $2
			), noted AS (
				INSERT INTO cairn.node_ended_sessions (sid) SELECT sid FROM part
				ON CONFLICT (sid) DO UPDATE SET ended_at = EXCLUDED.ended_at
			)
			SELECT COALESCE(max(sid), ''), count(*) FROM part`, last, noteBatch).Scan(&last, &n)
		if err != nil {
			return fmt.Errorf("node: note the sessions in %s: %w", table, err)
		}
	}
	return nil
}

// rewritten is how long after its end a session is looked for at the Node server: a request that was under way there
// may write it again.
const rewritten = time.Hour

// endAgain deletes one batch of sessions that have ended, and that the Node server has written again since. It reports
// whether more may be left.
func (s *Sessions) endAgain(ctx context.Context) (more bool, err error) {
	table := pgx.Identifier(s.Table).Sanitize()
	tag, err := s.pool.Exec(ctx, `
		DELETE FROM `+table+` WHERE sid IN (
			SELECT n.sid FROM cairn.node_ended_sessions e JOIN `+table+` n ON n.sid = e.sid
			WHERE e.ended_at > now() - $1::interval LIMIT $2 FOR UPDATE OF n SKIP LOCKED)`, rewritten, db.Batch)
	switch {
	case err == nil:
		return tag.RowsAffected() == db.Batch, nil
	case db.Transient(err):
		return false, fmt.Errorf("node: end sessions in %s again: %w", table, err)
	}
	s.trouble.note(err)
	return false, nil
}

// endOneAgain does that with the session that a visitor brings, however long ago it ended.
func (s *Sessions) endOneAgain(ctx context.Context, sid string) {
	_, err := s.pool.Exec(ctx, `
		DELETE FROM `+pgx.Identifier(s.Table).Sanitize()+`
		WHERE sid = $1 AND EXISTS (SELECT FROM cairn.node_settings WHERE way_back)`, sid)
	if err != nil {
		s.trouble.note(fmt.Errorf("node: end a session again: %w", err))
	}
}

// endAtNode deletes sessions at the Node server. What can't be deleted there must not keep ours from ending.
func endAtNode(ctx context.Context, tx pgx.Tx, s express, userID int64) (said string, err error) {
	err = pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
		if userID != 0 {
			return s.deleteThere(ctx, tx, userID)
		}
		_, err := tx.Exec(ctx, `DELETE FROM `+pgx.Identifier(s.Table).Sanitize()+` WHERE `+isNoMarker)
		return err
	})
	if err == nil || db.Transient(err) {
		return "", err
	}
	return fmt.Sprintf("sessions at the Node server can't be ended there: %v", err), nil
}
