package activity

import (
	"context"
	"fmt"
	"slices"
	"time"

	"cairn/db"
	"cairn/internal/oauth"
)

const (
	// keepWithoutConsent is how long the entries of a connection in NeedsReconnect are kept.
	keepWithoutConsent = 7 * 24 * time.Hour
	// stale is the age of a request that is dropped.
	stale = 24 * time.Hour
)

// SweepEntries removes a batch of each provider's entries that may no longer be kept, and reports whether more may be
// left.
func (s *Store) SweepEntries(ctx context.Context) (more bool, err error) {
	for _, p := range s.providers {
		left, err := s.sweepEntriesOf(ctx, p)
		if err != nil {
			return false, err
		}
		more = more || left
	}
	return more, nil
}

// sweepEntriesOf removes entries that are too old or no longer permitted (as Permitted says), and those of a connection
// that has been in NeedsReconnect for too long.
func (s *Store) sweepEntriesOf(ctx context.Context, p *oauth.Provider) (more bool, err error) {
	rules, _ := RulesOf(p)
	tag, err := s.pool.Exec(ctx, `
		UPDATE cairn.latest SET entries = '[]', as_of = NULL WHERE identity_id IN (
			SELECT l.identity_id FROM cairn.latest l
			JOIN cairn.connections c USING (identity_id)
			WHERE l.as_of IS NOT NULL AND c.provider = $1
			  AND ($2::interval > '0' AND l.as_of < now() - $2::interval
			       OR $3::text[] <> '{}' AND NOT c.granted && $3::text[]
			       OR c.state = 'needs_reconnect' AND c.state_since < now() - $4::interval)
			LIMIT $5 FOR SHARE OF c SKIP LOCKED FOR UPDATE OF l SKIP LOCKED)`,
		p.Key, rules.Keep, slices.Concat([]string{}, rules.Needs), keepWithoutConsent, db.Batch)
	if err != nil {
		return false, fmt.Errorf("activity: sweep entries of %s: %w", p.Key, err)
	}
	return tag.RowsAffected() == db.Batch, nil
}

// SweepAddresses deletes one batch of addresses that are too old to be followed, and reports whether more may be left.
func (s *Store) SweepAddresses(ctx context.Context) (more bool, err error) {
	tag, err := s.pool.Exec(ctx, `
		DELETE FROM cairn.pulls WHERE id IN (
			SELECT id FROM cairn.pulls
			WHERE created_at < now() - $1::interval LIMIT $2 FOR UPDATE SKIP LOCKED)`, pullLife, db.Batch)
	if err != nil {
		return false, fmt.Errorf("activity: sweep addresses: %w", err)
	}
	return tag.RowsAffected() == db.Batch, nil
}

// SweepRequests deletes one batch of stale requests, and reports whether more may be left.
func (s *Store) SweepRequests(ctx context.Context) (more bool, err error) {
	tag, err := s.pool.Exec(ctx, `
		DELETE FROM cairn.sync_requests WHERE (identity_id, kind) IN (
			SELECT identity_id, kind FROM cairn.sync_requests
			WHERE requested_at < now() - $1::interval LIMIT $2 FOR UPDATE SKIP LOCKED)`, stale, db.Batch)
	if err != nil {
		return false, fmt.Errorf("activity: sweep sync requests: %w", err)
	}
	return tag.RowsAffected() == db.Batch, nil
}
