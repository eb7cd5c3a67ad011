package node

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"cairn/db"
	"cairn/internal/config"
)

// When an operator ends sessions, this includes those that are still only at the Node server and would be adopted
// later. If one user's sessions end, none of theirs is adopted any more. If all end, none is adopted that may have
// begun before. The mark for this is written before our sessions end, and claims lock it: an adoption that is under way
// either ends with the other sessions, or is refused.

// endedUpTo is the moment up to which sessions there must not have begun, year 1 if all were never ended; e is
// cairn.node_settings. That server's clock, which says when one began, may be ahead of the database's.
const endedUpTo = `COALESCE(e.ended_since + interval '1 hour', '0001-01-01 00:00Z')`

// EndSessions is part of ending a user's sessions, or everybody's if userID is 0. end ends ours. While the way back is
// open, they end at the Node server, too. It returns what is to be said of those that go on there.
func EndSessions(
	ctx context.Context, tx pgx.Tx, c config.Config, userID int64, end func() error,
) (said string, err error) {
	statement, args := `UPDATE cairn.node_settings SET ended_since = now()`, []any(nil)
	if userID != 0 {
		statement, args = `UPDATE cairn.node_users SET ended_since = now() WHERE user_id = $1`, []any{userID}
	}
	if _, err := tx.Exec(ctx, statement, args...); err != nil {
		return "", fmt.Errorf("node: adopt no sessions that are ended: %w", err)
	}
	if err := end(); err != nil {
		return "", err
	}
	switch {
	case c.Node.Both:
		return endAtNode(ctx, tx, express{c.Node.Sessions}, userID)
	case !c.Node.Sessions.Until.IsZero():
		return "the Node server goes on accepting its sessions, if it gets requests", nil
	}
	return "", nil
}

// endAtNode deletes sessions at the Node server. What can't be deleted there must not keep ours from ending.
func endAtNode(ctx context.Context, tx pgx.Tx, s express, userID int64) (said string, err error) {
	err = pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
		if userID != 0 {
			return s.deleteThere(ctx, tx, userID)
		}
		_, err := tx.Exec(ctx, `DELETE FROM `+pgx.Identifier(s.Table).Sanitize())
		return err
	})
	if err == nil || db.Passing(err) {
		return "", err
	}
	return fmt.Sprintf("sessions at the Node server can't be ended there: %v", err), nil
}
