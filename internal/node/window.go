package node

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"cairn/internal/access"
	"cairn/internal/connection"
	"cairn/internal/session"
)

// window is the way back: while NODE_WINDOW is both, the Node server can take over at any time.

// Start notes whether the way back is open, which triggers read. If it is, that server must be able to read what is
// written there. Errors say what to mend.
func (n *Node) Start(ctx context.Context) error {
	both := n.deps.Config.Node.Both
	if both {
		if err := n.checkWayBack(ctx); err != nil {
			return fmt.Errorf("NODE_WINDOW=both: %w", err)
		}
	}
	_, err := n.deps.Pool.Exec(ctx, `
		INSERT INTO cairn.node_settings (way_back) VALUES ($1)
		ON CONFLICT (one) DO UPDATE SET way_back = EXCLUDED.way_back
		WHERE node_settings.way_back <> EXCLUDED.way_back`, both)
	if err != nil {
		return fmt.Errorf("node: note whether the way back is open: %w", err)
	}
	return nil
}

func (n *Node) checkWayBack(ctx context.Context) error {
	if len(n.deps.Config.Node.Sessions.Secrets) == 0 {
		return errors.New("NODE_SESSION_SECRET is missing: no session could be signed as the Node server does")
	}
	from, err := openSource(ctx, n.deps.Pool)
	if err != nil {
		return err
	}
	table := pgx.Identifier(n.Sessions.Table).Sanitize()
	if _, err := n.deps.Pool.Exec(ctx, `SELECT sid, sess, expire FROM `+table+` LIMIT 1`); err != nil {
		return fmt.Errorf("the table of sessions, %s, can't be read: %w", table, err)
	}
	keys, err := keysOf(n.deps, "")
	if err != nil {
		return err
	}
	newest, err := from.newestSealed(ctx)
	if err != nil {
		return err
	}
	if n.tokens.keys, err = keys.that(newest); err != nil {
		return errors.New("NODE_ENCRYPTION_KEY does not open what the Node server has sealed: " +
			"give the value of its ENCRYPTION_KEY, or of its DATABASE_URL if it had none")
	}
	return nil
}

// Tokens returns what writes refreshed tokens for the Node server, nil if NODE_WINDOW is off.
func (n *Node) Tokens() connection.Mirror {
	if !n.deps.Config.Node.Both {
		return nil
	}
	return n.tokens
}

// Mirror returns what writes sessions for the Node server, nil if NODE_WINDOW is off.
func (n *Node) Mirror() session.Mirror {
	if !n.deps.Config.Node.Both {
		return nil
	}
	site := n.deps.Config.PublicURL
	return &Mirror{Sessions: n.Sessions, secure: site != nil && site.Scheme == "https"}
}

// lockOut ends all links of a user, and all sessions that the Node server began until now. While the way back is open,
// they are deleted there. Otherwise nothing is written there, and none of the user's sessions there is adopted from now
// on: they do not say when they began.
func (n *Node) lockOut() access.LockOut {
	both := n.deps.Config.Node.Both
	return func(ctx context.Context, tx pgx.Tx, userID int64) error {
		_, err := tx.Exec(ctx, `
			UPDATE cairn.node_users SET link_hash = NULL, link_ended_at = now(),
			       ended_since = CASE WHEN $2 THEN ended_since ELSE now() END
			WHERE user_id = $1`, userID, both)
		if err == nil {
			_, err = tx.Exec(ctx, `DELETE FROM cairn.node_links WHERE user_id = $1`, userID)
		}
		if err == nil {
			_, err = tx.Exec(ctx, `DELETE FROM cairn.node_consents WHERE user_id = $1`, userID)
		}
		if err != nil {
			return fmt.Errorf("node: lock others out of user %d: %w", userID, err)
		}
		if both {
			return n.endThere(ctx, tx, userID)
		}
		return nil
	}
}

// endThere deletes the sessions of a user at the Node server.
func (n *Node) endThere(ctx context.Context, tx pgx.Tx, userID int64) error {
	paths := usual
	if n.Sessions.UserPath != nil {
		paths = [][]string{n.Sessions.UserPath}
	}
	var is []string
	args := []any{userID}
	for _, path := range paths {
		args = append(args, path)
		is = append(is, `sess::jsonb #>> $`+strconv.Itoa(len(args))+`::text[] = u.node_id::text`)
	}
	_, err := tx.Exec(ctx, `
		DELETE FROM `+pgx.Identifier(n.Sessions.Table).Sanitize()+` USING cairn.node_users u
		WHERE u.user_id = $1 AND (`+strings.Join(is, " OR ")+`)`, args...)
	if err != nil {
		return fmt.Errorf("node: end the sessions of user %d at the Node server: %w", userID, err)
	}
	return nil
}
