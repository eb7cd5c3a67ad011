package session

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

const sweepBatch = 500

// Sweep takes one small batch of expired sessions away, leaving only why they ended, and reports whether more may be
// left. Instances that sweep at the same time skip each other's rows.
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
		ON CONFLICT (token) DO NOTHING`, sweepBatch, m.MaxLifetime)
	if err != nil {
		return false, fmt.Errorf("session: sweep: %w", err)
	}
	return tag.RowsAffected() == sweepBatch, nil
}

// SweepEndings forgets one small batch of endings that nobody will ask about any more.
func (m *Manager) SweepEndings(ctx context.Context) (more bool, err error) {
	tag, err := m.Pool.Exec(ctx, `
		DELETE FROM cairn.ended_sessions WHERE token IN (
			SELECT token FROM cairn.ended_sessions
			WHERE ended_at < now() - $2::interval
			ORDER BY ended_at
			LIMIT $1
			FOR UPDATE SKIP LOCKED)`, sweepBatch, keepEndings)
	if err != nil {
		return false, fmt.Errorf("session: sweep endings: %w", err)
	}
	return tag.RowsAffected() == sweepBatch, nil
}

// note remembers that a session was used; RecordSeen writes it down off the request's path.
func (m *Manager) note(rq *request) {
	if rq.found == nil || !rq.unseen {
		return
	}
	m.mu.Lock()
	m.seen[rq.stored] = true
	m.mu.Unlock()
}

// RecordSeen writes down which sessions were used since it last did.
func (m *Manager) RecordSeen(ctx context.Context) error {
	m.mu.Lock()
	seen := m.seen
	m.seen = map[string]bool{}
	m.mu.Unlock()
	if len(seen) == 0 {
		return nil
	}
	tokens := slices.Collect(maps.Keys(seen))
	_, err := m.Pool.Exec(ctx, `UPDATE cairn.sessions SET last_seen = now() WHERE token = ANY($1)`, tokens)
	if err != nil {
		m.mu.Lock()
		maps.Copy(m.seen, seen) // for the next time
		m.mu.Unlock()
		return fmt.Errorf("session: record last seen: %w", err)
	}
	return nil
}
