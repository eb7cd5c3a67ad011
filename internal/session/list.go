package session

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Device is a session in its owner's list.
type Device struct {
	ID         int64 // of the session, in URLs; not its token
	UserID     int64
	Method     string
	Created    time.Time
	LastSeen   time.Time
	Address    string
	UserAgent  string
	Persistent bool
}

// List returns a user's live sessions, the most recently used first.
func (m *Manager) List(ctx context.Context, userID int64) ([]Device, error) {
	rows, _ := m.Pool.Query(ctx, `
		SELECT id, user_id, method, created, last_seen, address, user_agent, kept
		FROM cairn.sessions
		WHERE user_id = $1 AND now() < expiry AND now() < created + $2::interval
		ORDER BY last_seen DESC, id DESC`, userID, m.MaxLifetime) // CollectRows returns its error
	devices, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Device])
	if err != nil {
		return nil, fmt.Errorf("session: list sessions of user %d: %w", userID, err)
	}
	return devices, nil
}

// Newest returns up to limit of a user's live sessions, the most recently used first, and how many there are in all. If
// the session with the id first is the user's, it comes before the others.
func (m *Manager) Newest(ctx context.Context, userID, first int64, limit int) (devices []Device, all int, err error) {
	rows, _ := m.Pool.Query(ctx, `
		SELECT id, user_id, method, created, last_seen, address, user_agent, kept, count(*) OVER ()
		FROM cairn.sessions
		WHERE user_id = $1 AND now() < expiry AND now() < created + $2::interval
		ORDER BY id = $3 DESC, last_seen DESC, id DESC LIMIT $4`,
		userID, m.MaxLifetime, first, limit) // ForEachRow returns its error
	var d Device
	fields := []any{&d.ID, &d.UserID, &d.Method, &d.Created, &d.LastSeen, &d.Address, &d.UserAgent, &d.Persistent, &all}
	if _, err = pgx.ForEachRow(rows, fields, func() error { devices = append(devices, d); return nil }); err != nil {
		return nil, 0, fmt.Errorf("session: list the newest sessions of user %d: %w", userID, err)
	}
	return devices, all, nil
}

// Each calls do with each live session of all users, for an operator.
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

// Count returns how many sessions of all users are live, for an operator.
func (m *Manager) Count(ctx context.Context) (n int, err error) {
	err = m.Pool.QueryRow(ctx, `
		SELECT count(*)::int FROM cairn.sessions
		WHERE now() < expiry AND now() < created + $1::interval`, m.MaxLifetime).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("session: count: %w", err)
	}
	return n, nil
}
