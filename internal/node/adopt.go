package node

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db"
	"cairn/internal/auth"
	"cairn/internal/session"
)

// NodeSession is the method of sessions that the Node server began.
const NodeSession = "node_session"

// Sessions are those of the Node server. It is a session.Adopter.
type Sessions struct {
	express
	pool    *pgxpool.Pool
	key     []byte // makes our tokens of its ids
	trouble *trouble
	observe func(kind, result string)
	people  *Importer // imports somebody who comes before the next import; nil: NODE_IMPORT is off
}

// Find implements session.Adopter. A cookie of another shape, or one that isn't signed, causes no query.
func (s *Sessions) Find(ctx context.Context, r *http.Request) (f session.Foreign, ok bool, err error) {
	sid := s.sid(r)
	if sid == "" || s.Until.IsZero() {
		return session.Foreign{}, false, nil
	}
	f, result, err := s.find(ctx, sid)
	switch {
	case err != nil && db.Unavailable(err):
		return session.Foreign{}, false, err
	case err != nil: // what the operator has to fix signs nobody in, and nobody out
		s.trouble.note(err)
		result = "failed"
	}
	if result != adopted {
		s.observe("session", result)
	}
	return f, result == adopted, nil
}

// Leave implements session.Adopter.
func (s *Sessions) Leave(ctx context.Context, r *http.Request, userID int64) error {
	sid := s.sid(r)
	if sid == "" || s.Until.IsZero() {
		return nil
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if err := auth.KeepUser(ctx, tx, userID); err != nil && !errors.Is(err, auth.ErrDisabled) {
			return err
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO cairn.node_sessions (sid_hash, user_id) VALUES ($1, $2) ON CONFLICT (sid_hash) DO NOTHING`,
			digest(sid), userID)
		return err
	})
	if err != nil && !errors.Is(err, auth.ErrNotFound) { // nobody's session is adopted whose account is deleted
		return fmt.Errorf("node: leave a session: %w", err)
	}
	return nil
}

// Adopted implements session.Adopter.
func (s *Sessions) Adopted(ctx context.Context, f session.Foreign) {
	s.observe("session", adopted)
	s.trouble.log.InfoContext(ctx, "signed in", "user", f.UserID, "method", f.Method)
}

// Results of a visit with a session of the Node server.
const (
	adopted = "ok"
	expired = "expired"
	unknown = "unknown" // no such session, or nobody is signed in there
	refused = "refused" // ended here, or the user's account was deleted, or the user has locked others out
)

func (s *Sessions) find(ctx context.Context, sid string) (f session.Foreign, result string, err error) {
	stored, err := s.read(ctx, s.pool, sid)
	if err != nil || stored.nodeID == 0 {
		return session.Foreign{}, unknown, err
	}
	f = session.Foreign{
		ID: digest(sid), Theirs: sid, Token: s.token(sid), Method: NodeSession,
		Created: stored.created, Persistent: stored.persistent,
	}
	of, err := s.owner(ctx, stored.nodeID, &f)
	if err == nil && !of.known && !of.refused && !of.over && !stored.staleAt(of.ended) && s.people != nil {
		of, err = s.comeEarly(ctx, stored.nodeID, &f)
	}
	switch {
	case err != nil && !errors.Is(err, pgx.ErrNoRows):
		return session.Foreign{}, "", err
	case !of.known: // not imported, or the last day is over
		return session.Foreign{}, unknown, nil
	case of.over:
		s.endOneAgain(ctx, sid)
		return session.Foreign{}, refused, nil
	case f.UserID == 0, (of.locked || stored.staleAt(of.ended)) && !f.Adopted:
		return session.Foreign{}, refused, nil
	case !stored.alive:
		return session.Foreign{}, expired, nil
	}
	return f, adopted, nil
}

// visitor is what is known of somebody who brings a session.
type visitor struct {
	known   bool // imported
	locked  bool // has locked others out since
	refused bool // an import refused the row a short time ago
	over    bool // the session has ended
	ended   time.Time
}

// owner fills in whose session it is, and whether it was adopted before. Errors: pgx.ErrNoRows after the last day.
func (s *Sessions) owner(ctx context.Context, nodeID int64, f *session.Foreign) (of visitor, err error) {
	err = s.pool.QueryRow(ctx, `
		SELECT COALESCE(u.user_id, 0), s.sid_hash IS NOT NULL,
		       u.node_id IS NOT NULL, u.ended_since IS NOT NULL, r.node_id IS NOT NULL,
		       EXISTS (SELECT FROM cairn.node_ended_sessions WHERE sid = $5), `+endedUpTo+`
		FROM cairn.node_settings e CROSS JOIN (SELECT $1::bigint AS node_id) v
		LEFT JOIN cairn.node_users u USING (node_id)
		LEFT JOIN cairn.node_refused r ON r.node_id = v.node_id AND r.refused_at > now() - $4::interval
		LEFT JOIN cairn.node_sessions s ON s.sid_hash = $2
		WHERE now() < $3`, nodeID, f.ID, s.Until, refusedFor, f.Theirs).
		Scan(&f.UserID, &f.Adopted, &of.known, &of.locked, &of.refused, &of.over, &of.ended)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		err = fmt.Errorf("node: find the user of a session: %w", err)
	}
	return of, err
}

// refusedFor is how long visits ignore a row that an import refused. Once it is fixed, the next import takes it, within
// a minute.
const refusedFor = time.Hour

// comeEarly imports somebody who comes before the next import, or remembers that there is nobody to import.
func (s *Sessions) comeEarly(ctx context.Context, nodeID int64, f *session.Foreign) (of visitor, err error) {
	failed := s.people.ImportPerson(ctx, nodeID)
	if failed != nil && db.Transient(failed) {
		return visitor{}, failed
	}
	if of, err = s.owner(ctx, nodeID, f); err != nil || of.known {
		return of, err
	}
	_, err = s.pool.Exec(ctx, `
		INSERT INTO cairn.node_refused (node_id) VALUES ($1)
		ON CONFLICT (node_id) DO UPDATE SET refused_at = now()`, nodeID)
	if err != nil { // then the next visit looks again
		s.trouble.note(fmt.Errorf("node: remember that row %d is refused: %w", nodeID, err))
	}
	return of, failed
}

// Claim implements session.Adopter.
func (s *Sessions) Claim(ctx context.Context, tx pgx.Tx, f session.Foreign) (first bool, err error) {
	switch err := auth.KeepUser(ctx, tx, f.UserID); {
	case errors.Is(err, auth.ErrNotFound), errors.Is(err, auth.ErrDisabled):
		return false, nil
	case err != nil:
		return false, err
	}
	if asks, err := auth.HasApp(ctx, tx, f.UserID); err != nil || asks { // the Node server asks for no code
		return false, err
	}
	err = tx.QueryRow(ctx, `
		WITH open AS (
			SELECT u.user_id FROM cairn.node_users u, cairn.node_settings e
			WHERE u.user_id = $2 AND u.node_id > 0 AND u.ended_since IS NULL
			  AND $3 > `+endedUpTo+` AND NOT EXISTS (SELECT FROM cairn.node_ended_sessions WHERE sid = $4)
			LIMIT 1 FOR SHARE
		)
		INSERT INTO cairn.node_sessions (sid_hash, user_id) SELECT $1, user_id FROM open
		ON CONFLICT (sid_hash) DO NOTHING RETURNING true`, f.ID, f.UserID, f.Created, f.Theirs).Scan(&first)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return false, fmt.Errorf("node: claim a session: %w", err)
	}
	return first, nil
}

// overFor is how long after its adoption or its end a session is certainly over at the Node server, too.
const overFor = 400 * 24 * time.Hour

// sweep forgets one batch of sessions that are certainly over, and of refusals that don't count any more. It reports
// whether more may be left.
func (s *Sessions) sweep(ctx context.Context) (more bool, err error) {
	for _, old := range []struct {
		table, key, since string
		age               time.Duration
	}{
		{"cairn.node_sessions", "sid_hash", "adopted_at", overFor},
		{"cairn.node_ended_sessions", "sid", "ended_at", overFor},
		{"cairn.node_refused", "node_id", "refused_at", refusedFor},
	} {
		tag, err := s.pool.Exec(ctx, `
			DELETE FROM `+old.table+` WHERE `+old.key+` IN (
				SELECT `+old.key+` FROM `+old.table+`
				WHERE `+old.since+` < now() - $1::interval LIMIT $2 FOR UPDATE SKIP LOCKED)`, old.age, db.Batch)
		if err != nil {
			return false, fmt.Errorf("node: sweep %s: %w", old.table, err)
		}
		more = more || tag.RowsAffected() == db.Batch
	}
	return more, nil
}

// token makes the token of the session that replaces one of the Node server's. It has the shape of all our tokens.
func (s *Sessions) token(sid string) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(sid))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
