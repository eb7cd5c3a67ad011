package session

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

const sweepBatch = 500

// Sweep deletes one small batch of expired sessions and reports whether more may be left. Instances that sweep at the
// same time skip each other's rows.
func (m *Manager) Sweep(ctx context.Context) (more bool, err error) {
	tag, err := m.Pool.Exec(ctx, `
		DELETE FROM cairn.sessions WHERE token IN (
			SELECT token FROM cairn.sessions
			WHERE expiry < now()
			ORDER BY expiry
			LIMIT $1
			FOR UPDATE SKIP LOCKED)`, sweepBatch)
	if err != nil {
		return false, fmt.Errorf("session: sweep: %w", err)
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

// RecordSeen writes down which sessions were used since it was last called.
func (m *Manager) RecordSeen(ctx context.Context) error {
	m.mu.Lock()
	tokens := slices.Collect(maps.Keys(m.seen))
	clear(m.seen)
	m.mu.Unlock()
	if len(tokens) == 0 {
		return nil
	}
	_, err := m.Pool.Exec(ctx, `UPDATE cairn.sessions SET last_seen = now() WHERE token = ANY($1)`, tokens)
	if err != nil {
		return fmt.Errorf("session: record last seen: %w", err)
	}
	return nil
}
