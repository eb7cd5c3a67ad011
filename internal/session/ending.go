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

// Reasons, as they stand in cairn.ended_sessions.
const (
	Expired         Reason = "expired"    // not used for its lifetime
	Limit           Reason = "limit"      // as old as a session may get
	SignedOut       Reason = "signed_out" // by its own browser
	EndedElsewhere  Reason = "ended"      // by its owner, from another session
	PasswordChanged Reason = "password_changed"
	ByOperator      Reason = "operator"
	MethodRemoved   Reason = "method_removed" // the user removed a sign-in method, from another session
	Replaced        Reason = "replaced"       // not an end: the same browser has a newer token
)

// Ending is what is known of a session that is over. It is kept for 30 days.
type Ending struct {
	Reason Reason
	At     time.Time
}

// keepEndings is for how long a browser can be told why it is signed out.
const keepEndings = 30 * 24 * time.Hour

// end deletes the sessions that the condition names and writes down why, in one statement. args are $2 and up.
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

// End ends one session of a user, from another one. Errors: ErrNone when the user has no such session.
func (m *Manager) End(ctx context.Context, userID, id int64) error {
	ended, err := end(ctx, m.Pool, EndedElsewhere, `user_id = $2 AND id = $3`, userID, id)
	if err == nil && ended == 0 {
		return ErrNone
	}
	return err
}

// EndOthers ends all sessions of a user but the one with the id keep (0: all) and returns how many there were. db may
// be a transaction, so that they end together with what made them end.
func (m *Manager) EndOthers(ctx context.Context, db DB, userID, keep int64, why Reason) (int64, error) {
	return end(ctx, db, why, `user_id = $2 AND id <> $3`, userID, keep)
}

// EndByID ends one session of any user. It is the operator's. Errors: ErrNone.
func (m *Manager) EndByID(ctx context.Context, id int64) error {
	ended, err := end(ctx, m.Pool, ByOperator, `id = $2`, id)
	if err == nil && ended == 0 {
		return ErrNone
	}
	return err
}

// EndAll ends every session of everybody and returns how many there were. It is the operator's.
func (m *Manager) EndAll(ctx context.Context) (int64, error) {
	return end(ctx, m.Pool, ByOperator, `true`)
}

// Ended tells why the session of this request's cookie is over, if it is and that is known. It asks the database only
// when the request brought a token that led to nothing, and is for a page that says so: the answer clears the cookie,
// so that it is said once. A token that was replaced just now is left alone: the browser may have got the newer one
// meanwhile.
func (m *Manager) Ended(ctx context.Context) (Ending, bool) {
	rq, ok := ctx.Value(requestKey{}).(*request)
	if !ok || rq.found != nil || rq.dead == "" {
		return Ending{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, m.StatementTimeout)
	defer cancel()
	var e Ending
	var young bool
	err := m.Pool.QueryRow(ctx, `
		SELECT reason, ended_at, ended_at > now() - interval '1 minute' FROM cairn.ended_sessions WHERE token = $1
		UNION ALL
		SELECT CASE WHEN created + $2::interval <= now() THEN 'limit' ELSE 'expired' END,
		       LEAST(expiry, created + $2::interval), false
		FROM cairn.sessions WHERE token = $1
		LIMIT 1`, rq.dead, m.MaxLifetime).Scan(&e.Reason, &e.At, &young)
	rq.told = !(e.Reason == Replaced && young) && (err == nil || errors.Is(err, pgx.ErrNoRows))
	return e, err == nil // an explanation is not worth an error page
}

// Device is a session as its owner sees it in the list of theirs.
type Device struct {
	ID        int64 // names the session in addresses; not its token
	UserID    int64
	Method    string
	Created   time.Time
	LastSeen  time.Time
	Address   string
	UserAgent string
	Kept      bool
}

// List returns a user's live sessions, the last used first.
func (m *Manager) List(ctx context.Context, userID int64) ([]Device, error) {
	rows, _ := m.Pool.Query(ctx, `
		SELECT id, user_id, method, created, last_seen, address, user_agent, kept
		FROM cairn.sessions
		WHERE user_id = $1 AND now() < expiry AND now() < created + $2::interval
		ORDER BY last_seen DESC, id DESC`, userID, m.MaxLifetime) // CollectRows returns its error
	devices, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Device])
	if err != nil {
		return nil, fmt.Errorf("session: list those of user %d: %w", userID, err)
	}
	return devices, nil
}

// Newest returns at most so many of a user's live sessions, and how many there are. The one with the id first comes
// first, if it is the user's, then those that were used last.
func (m *Manager) Newest(ctx context.Context, userID, first int64, most int) (devices []Device, all int, err error) {
	rows, _ := m.Pool.Query(ctx, `
		SELECT id, user_id, method, created, last_seen, address, user_agent, kept, count(*) OVER ()
		FROM cairn.sessions
		WHERE user_id = $1 AND now() < expiry AND now() < created + $2::interval
		ORDER BY id = $3 DESC, last_seen DESC, id DESC LIMIT $4`,
		userID, m.MaxLifetime, first, most) // ForEachRow returns its error
	var d Device
	fields := []any{&d.ID, &d.UserID, &d.Method, &d.Created, &d.LastSeen, &d.Address, &d.UserAgent, &d.Kept, &all}
	if _, err = pgx.ForEachRow(rows, fields, func() error { devices = append(devices, d); return nil }); err != nil {
		return nil, 0, fmt.Errorf("session: list the newest of user %d: %w", userID, err)
	}
	return devices, all, nil
}

// Each hands over everybody's live sessions, one after the other. It is the operator's.
func (m *Manager) Each(ctx context.Context, do func(Device) error) error {
	rows, err := m.Pool.Query(ctx, `
		SELECT id, user_id, method, created, last_seen, address, user_agent, kept
		FROM cairn.sessions
		WHERE now() < expiry AND now() < created + $1::interval
		ORDER BY user_id, last_seen DESC`, m.MaxLifetime)
	if err != nil {
		return fmt.Errorf("session: list: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		d, err := pgx.RowToStructByPos[Device](rows)
		if err != nil {
			return fmt.Errorf("session: list: %w", err)
		}
		if err := do(d); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Count returns how many sessions are alive, everybody's together. It is the operator's.
func (m *Manager) Count(ctx context.Context) (n int, err error) {
	err = m.Pool.QueryRow(ctx, `
		SELECT count(*)::int FROM cairn.sessions
		WHERE now() < expiry AND now() < created + $1::interval`, m.MaxLifetime).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("session: count: %w", err)
	}
	return n, nil
}
