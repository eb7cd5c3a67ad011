package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db"
	"cairn/internal/access"
	"cairn/internal/config"
	"cairn/internal/connection"
	"cairn/internal/session"
)

// window is the way back: while NODE_WINDOW is both, the Node server can take over at any time.

// Start notes whether the way back is open, which triggers read. If it is, that server must be able to read what is
// written there. Errors say what to fix. If the database is read-only now, Sweep notes it later.
func (n *Node) Start(ctx context.Context) error {
	if n.deps.Config.Node.Both {
		if err := n.checkWayBack(ctx); err != nil && !db.Unavailable(err) {
			return fmt.Errorf("NODE_WINDOW=both: %w", err)
		}
	}
	err := n.noteWindow(ctx)
	if err == nil && n.deps.Config.Node.Both {
		err = n.Sessions.keepMarker(ctx)
	}
	if err != nil && !db.Unavailable(err) {
		return err
	}
	return nil
}

// noteWindow notes whether the way back is open, if something else is noted.
func (n *Node) noteWindow(ctx context.Context) error {
	var noted bool
	err := n.deps.Pool.QueryRow(ctx, `SELECT COALESCE((SELECT way_back FROM cairn.node_settings), false)`).Scan(&noted)
	if err == nil && noted != n.deps.Config.Node.Both {
		_, err = n.deps.Pool.Exec(ctx, `
			INSERT INTO cairn.node_settings (way_back) VALUES ($1)
			ON CONFLICT (one) DO UPDATE SET way_back = EXCLUDED.way_back`, n.deps.Config.Node.Both)
	}
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
	return tryToWrite(ctx, n.deps.Pool, n.Sessions.Table)
}

// tryToWrite does what the way back takes to the Node server's tables, and takes it back. Without it, what ends here
// would go on there.
func tryToWrite(ctx context.Context, pool *pgxpool.Pool, sessions []string) error {
	tx, err := pool.Begin(ctx)
	if err != nil {
		return fmt.Errorf("node: begin: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	table, sid := pgx.Identifier(sessions).Sanitize(), newSID()
	for _, statement := range []string{
		`INSERT INTO ` + table + ` (sid, sess, expire) VALUES ($1, '{}', now()::timestamp)`,
		`UPDATE ` + table + ` SET sess = '{}', expire = now()::timestamp WHERE sid = $1`,
		`DELETE FROM ` + table + ` WHERE sid = $1`,
	} {
		if _, err := tx.Exec(ctx, statement, sid); err != nil {
			return fmt.Errorf("the table of sessions, %s, can't be written: %w", table, err)
		}
	}
	return tryToEmpty(ctx, tx)
}

// tryToEmpty makes sure that the columns with secrets of public.users, those that there are, can be emptied.
func tryToEmpty(ctx context.Context, tx pgx.Tx) error {
	rows, _ := tx.Query(ctx, `
		SELECT attname::text, attnotnull AND attname <> 'secret_token' FROM pg_attribute
		WHERE attrelid = 'public.users'::regclass AND NOT attisdropped AND attname IN ('secret_token',
			'access_token_encrypted', 'strava_oauth_tokens_encrypted', 'garmin_oauth_tokens_encrypted')
		ORDER BY attnum`) // ForEachRow returns its error
	var name string
	var full bool
	var emptied []string
	_, err := pgx.ForEachRow(rows, []any{&name, &full}, func() error {
		if full {
			return fmt.Errorf("public.users can't be written: the column %s is NOT NULL, but would have to be emptied "+
				"for people who disconnect", name)
		}
		emptied = append(emptied, name+" = NULL")
		return nil
	})
	if err != nil || len(emptied) == 0 {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE public.users SET `+strings.Join(emptied, ", ")+` WHERE false`)
	if err != nil {
		return fmt.Errorf("public.users can't be written: %w", err)
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

// LockOut is lockOut for a command.
func LockOut(c config.Config, pool *pgxpool.Pool, log *slog.Logger) access.LockOut {
	return New(Deps{Pool: pool, Config: c, Log: log}).lockOut()
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

// endThere deletes the sessions of a user at the Node server. What can't be deleted there must not keep anybody from
// locking others out here.
func (n *Node) endThere(ctx context.Context, tx pgx.Tx, userID int64) error {
	// Whatever ends or renews one session locks it, and then that server's.
	if err := session.LockAll(ctx, tx, userID); err != nil {
		return err
	}
	err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error { return n.Sessions.deleteThere(ctx, tx, userID) })
	if err == nil || db.Transient(err) {
		return err
	}
	n.Sessions.trouble.note(err)
	if _, err := tx.Exec(ctx, `
		UPDATE cairn.node_users SET ended_since = now() WHERE user_id = $1`, userID); err != nil {
		return fmt.Errorf("node: adopt no sessions of user %d any more: %w", userID, err)
	}
	return nil
}

// deleteThere finds a user's sessions by the letters of the id, and reads only those: others may hold JSON that
// PostgreSQL can't take apart. None of them is adopted any more: a request that is under way there may write its
// session again.
func (s express) deleteThere(ctx context.Context, tx pgx.Tx, userID int64) error {
	table := pgx.Identifier(s.Table).Sanitize()
	rows, _ := tx.Query(ctx, `
		SELECT u.node_id, s.sid, s.sess::text FROM cairn.node_users u JOIN `+table+` s
		ON s.sess::text ~ ('[:]\s*"?' || u.node_id || '"?\s*[,}]')
		WHERE u.user_id = $1 AND u.node_id > 0 ORDER BY s.sid`, userID) // ForEachRow returns its error
	var nodeID int64
	var sid, text string
	var theirs []string
	_, err := pgx.ForEachRow(rows, []any{&nodeID, &sid, &text}, func() error {
		if s.parse(text, time.Time{}, time.Time{}).nodeID == nodeID {
			theirs = append(theirs, sid)
		}
		return nil
	})
	if err == nil {
		err = s.end(ctx, tx, theirs)
	}
	if err != nil {
		return fmt.Errorf("node: end the sessions of user %d at the Node server: %w", userID, err)
	}
	return nil
}

// end ends sessions at the Node server.
func (s express) end(ctx context.Context, tx pgx.Tx, sids []string) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO cairn.node_ended_sessions (sid) SELECT DISTINCT sid FROM unnest($1::text[]) AS n (sid)
		ON CONFLICT (sid) DO UPDATE SET ended_at = EXCLUDED.ended_at`, sids)
	if err == nil {
		_, err = tx.Exec(ctx, `DELETE FROM `+pgx.Identifier(s.Table).Sanitize()+` WHERE sid = ANY($1)`, sids)
	}
	return err
}
