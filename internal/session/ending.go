package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Reason is why a session ended.
type Reason string

// Reasons, as cairn.ended_sessions has them.
const (
	Expired         Reason = "expired"    // unused for its lifetime
	Limit           Reason = "limit"      // at its absolute limit
	SignedOut       Reason = "signed_out" // by its own browser
	EndedElsewhere  Reason = "ended"      // by its owner, from another session
	PasswordChanged Reason = "password_changed"
	ByOperator      Reason = "operator"
	MethodRemoved   Reason = "method_removed" // the user removed a sign-in method, from another session
	Replaced        Reason = "replaced"       // no end: the same browser has a newer token
)

// Ending says why and when a session ended.
type Ending struct {
	Reason   Reason
	At       time.Time
	TimeZone string // the user's; "": not known
}

// endingRetention is how long a browser can learn why it is signed out.
const endingRetention = 30 * 24 * time.Hour

// end deletes the sessions that match the condition and records why, in one statement. args are $2 and up.
func end(ctx context.Context, db DB, why Reason, condition string, args ...any) (ended int64, err error) {
	tag, err := db.Exec(ctx, `
		WITH gone AS (DELETE FROM cairn.sessions WHERE `+condition+` RETURNING token, user_id)
		INSERT INTO cairn.ended_sessions (token, user_id, reason)
		SELECT token, user_id, $1 FROM gone
		ON CONFLICT (token) DO NOTHING`, append([]any{why}, args...)...)
	if err != nil {
		return 0, fmt.Errorf("session: end: %w", err)
	}
	return tag.RowsAffected(), nil
}

// End ends one session of a user, from another one. Errors: ErrNoSession.
func (m *Manager) End(ctx context.Context, userID, id int64) error {
	ended, err := end(ctx, m.Pool, EndedElsewhere, `user_id = $2 AND id = $3`, userID, id)
	if err == nil && ended == 0 {
		return ErrNoSession
	}
	return err
}

// EndOthers ends all sessions of a user except one (0: all of them) and returns how many there were. db may be a
// transaction, so that they end together with their cause.
func (m *Manager) EndOthers(ctx context.Context, db DB, userID, except int64, why Reason) (int64, error) {
	return end(ctx, db, why, `user_id = $2 AND id <> $3`, userID, except)
}

// EndSince ends the sessions of a user that began at a time or later. db is as in EndOthers.
func (m *Manager) EndSince(ctx context.Context, db DB, userID int64, began time.Time, why Reason) error {
	_, err := end(ctx, db, why, `user_id = $2 AND created >= $3`, userID, began)
	return err
}

// LockAll locks all sessions of a user until the transaction ends, before what has to be locked after them.
func LockAll(ctx context.Context, tx pgx.Tx, userID int64) error {
	_, err := tx.Exec(ctx, `SELECT FROM cairn.sessions WHERE user_id = $1 ORDER BY id FOR UPDATE`, userID)
	if err != nil {
		return fmt.Errorf("session: lock those of user %d: %w", userID, err)
	}
	return nil
}

// EndByID ends one session of any user, for an operator. Errors: ErrNoSession.
func (m *Manager) EndByID(ctx context.Context, id int64) error {
	ended, err := end(ctx, m.Pool, ByOperator, `id = $2`, id)
	if err == nil && ended == 0 {
		return ErrNoSession
	}
	return err
}

// EndAll ends all sessions of all users, for an operator, and returns how many there were. db is as in EndOthers.
func (m *Manager) EndAll(ctx context.Context, db DB) (int64, error) {
	return end(ctx, db, ByOperator, `true`)
}

// Ended returns why the session of the request's token has ended, if the token is stale and the reason is known. Only a
// stale token causes a query. It is for a page that shows the reason: the response clears the cookie, so that the
// reason is shown once. The cookie stays if its token was replaced within the last minute, because the browser may have
// received the newer one meanwhile.
func (m *Manager) Ended(ctx context.Context) (Ending, bool) {
	if !Stale(ctx) {
		return Ending{}, false
	}
	rq := requestOf(ctx)
	ctx, cancel := context.WithTimeout(ctx, m.StatementTimeout)
	defer cancel()
	var e Ending
	var recent bool
	err := m.Pool.QueryRow(ctx, `
		SELECT reason, ended_at, recent, COALESCE(time_zone, '') FROM (
			SELECT user_id, reason, ended_at, ended_at > now() - interval '1 minute' AS recent
			FROM cairn.ended_sessions WHERE token = $1
			UNION ALL
			SELECT user_id, CASE WHEN created + $2::interval <= now() THEN 'limit' ELSE 'expired' END,
			       LEAST(expiry, created + $2::interval), false
			FROM cairn.sessions WHERE token = $1) ending
		JOIN cairn.users ON id = user_id
		LIMIT 1`, rq.staleToken, m.MaxLifetime).Scan(&e.Reason, &e.At, &recent, &e.TimeZone)
	rq.clearStale = !(e.Reason == Replaced && recent) && (err == nil || errors.Is(err, pgx.ErrNoRows))
	return e, err == nil // a page without the reason is better than an error page
}
