package session

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"cairn/db"
)

// Sweep deletes one batch of expired sessions, records why they ended, and reports whether more may be left. Instances
// that sweep at the same time skip each other's rows.
func (m *Manager) Sweep(ctx context.Context) (more bool, err error) {
	tag, err := m.Pool.Exec(ctx, `
		WITH gone AS (
			DELETE FROM cairn.sessions WHERE token IN (
				SELECT token FROM cairn.sessions
				WHERE expiry < now()
				ORDER BY expiry
				LIMIT $1
				FOR UPDATE SKIP LOCKED)
			RETURNING token, user_id, expiry, created
		)
		INSERT INTO cairn.ended_sessions (token, user_id, reason, ended_at)
		SELECT token, user_id, CASE WHEN created + $2::interval <= now() THEN 'limit' ELSE 'expired' END, expiry
		FROM gone
		ON CONFLICT (token) DO NOTHING`, db.Batch, m.MaxLifetime)
	if err != nil {
		return false, fmt.Errorf("session: sweep: %w", err)
	}
	return tag.RowsAffected() == db.Batch, nil
}

// SweepEndings deletes one batch of endings that are older than endingRetention, and reports whether more may be left.
func (m *Manager) SweepEndings(ctx context.Context) (more bool, err error) {
	tag, err := m.Pool.Exec(ctx, `
		DELETE FROM cairn.ended_sessions WHERE token IN (
			SELECT token FROM cairn.ended_sessions
			WHERE ended_at < now() - $2::interval
			ORDER BY ended_at
			LIMIT $1
			FOR UPDATE SKIP LOCKED)`, db.Batch, endingRetention)
	if err != nil {
		return false, fmt.Errorf("session: sweep endings: %w", err)
	}
	return tag.RowsAffected() == db.Batch, nil
}

// touch remembers that a session was used. SaveLastSeen records it later, outside the request.
func (m *Manager) touch(rq *request) {
	if rq.found == nil || !rq.found.needsTouch() {
		return
	}
	m.mu.Lock()
	m.touched[rq.stored] = true
	m.mu.Unlock()
}

// SaveLastSeen records which sessions were used since it was last called.
func (m *Manager) SaveLastSeen(ctx context.Context) error {
	m.mu.Lock()
	touched := m.touched
	m.touched = map[string]bool{}
	m.mu.Unlock()
	if len(touched) == 0 {
		return nil
	}
	tokens := slices.Collect(maps.Keys(touched))
	_, err := m.Pool.Exec(ctx, `UPDATE cairn.sessions SET last_seen = now() WHERE token = ANY($1)`, tokens)
	if err != nil {
		m.mu.Lock()
		maps.Copy(m.touched, touched) // for the next call
		m.mu.Unlock()
		return fmt.Errorf("session: save last seen: %w", err)
	}
	return nil
}
