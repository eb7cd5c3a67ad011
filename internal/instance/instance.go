// Package instance lets the servers of a site know of each other. Each writes itself into cairn.instances when it
// starts, says there again and again that it lives, and takes itself out when it stops. From that follows which
// encryption key may seal: one that every server holds, so that what one writes all can read.
package instance

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// LiveFor is how long a server counts as running after it was last seen.
	LiveFor = 2 * time.Minute
	// keepSilent is how long one that was killed stays in the list.
	keepSilent = time.Hour
	sweepBatch = 100
)

// Instance is a server as its row tells. All times are by the database's clock.
type Instance struct {
	ID, Hostname, Version string
	Schema                int64    // the newest version it knows
	Keys                  []string // the ids of the encryption keys it holds, the newest first
	Started, LastSeen     time.Time
	Live                  bool // seen within LiveFor
	// UntrustedProxy is the peer that last named a client to it without being trusted to. Nil: none has.
	UntrustedProxy *netip.Addr
}

// Self is the server of this process. Make it with New.
type Self struct {
	Instance
	pool      *pgxpool.Pool
	untrusted atomic.Pointer[netip.Addr]
}

// NoteUntrusted has the next announcement tell of a peer that named a client without being trusted to.
func (s *Self) NoteUntrusted(peer netip.Addr) { s.untrusted.Store(&peer) }

// New returns a server under a new id. Nobody knows of it before Announce.
func New(pool *pgxpool.Pool, hostname, version string, schema int64, keys []string) *Self {
	id := strings.ToLower(rand.Text()[:8])
	me := Instance{ID: id, Hostname: hostname, Version: version, Schema: schema, Keys: keys}
	return &Self{Instance: me, pool: pool}
}

// Announce says that this server lives, in one statement, and returns the key to seal with: the newest of its own that
// every other live server holds too. If they have none in common, it is its newest.
func (s *Self) Announce(ctx context.Context) (sealing string, err error) {
	err = s.pool.QueryRow(ctx, `
		WITH announced AS (
			INSERT INTO cairn.instances (id, hostname, version, schema_version, key_ids, untrusted_proxy)
			VALUES ($1, $2, $3, $4, $5, $7)
			ON CONFLICT (id) DO UPDATE SET last_seen = now(), untrusted_proxy = EXCLUDED.untrusted_proxy
		)
		SELECT key FROM unnest($5::text[]) WITH ORDINALITY AS mine (key, place)
		WHERE NOT EXISTS (
			SELECT FROM cairn.instances WHERE id <> $1 AND last_seen > now() - $6::interval AND NOT key = ANY(key_ids))
		ORDER BY place LIMIT 1`,
		s.ID, s.Hostname, s.Version, s.Schema, s.Keys, LiveFor, s.untrusted.Load()).Scan(&sealing)
	if errors.Is(err, pgx.ErrNoRows) {
		return s.Keys[0], nil
	}
	if err != nil {
		return "", fmt.Errorf("instance: announce: %w", err)
	}
	return sealing, nil
}

// Leave says that this server stops.
func (s *Self) Leave(ctx context.Context) error {
	if _, err := s.pool.Exec(ctx, `DELETE FROM cairn.instances WHERE id = $1`, s.ID); err != nil {
		return fmt.Errorf("instance: leave: %w", err)
	}
	return nil
}

// Sweep removes servers that have been silent for an hour, a batch at a time.
func (s *Self) Sweep(ctx context.Context) (more bool, err error) {
	tag, err := s.pool.Exec(ctx, `
		DELETE FROM cairn.instances WHERE id IN (
			SELECT id FROM cairn.instances WHERE last_seen < now() - $1::interval
			ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED)`,
		keepSilent, sweepBatch)
	if err != nil {
		return false, fmt.Errorf("instance: sweep: %w", err)
	}
	return tag.RowsAffected() == sweepBatch, nil
}

// List returns all servers that are known, the oldest first.
func List(ctx context.Context, pool *pgxpool.Pool) ([]Instance, error) {
	return list(ctx, pool, `true`)
}

// Count returns how many servers are live.
func Count(ctx context.Context, pool *pgxpool.Pool) (n int, err error) {
	err = pool.QueryRow(ctx, `
		SELECT count(*)::int FROM cairn.instances WHERE last_seen > now() - $1::interval`, LiveFor).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("instance: count: %w", err)
	}
	return n, nil
}

// Lacking returns the live servers that do not hold a key.
func Lacking(ctx context.Context, pool *pgxpool.Pool, key string) ([]Instance, error) {
	return list(ctx, pool, `last_seen > now() - $1::interval AND NOT $2 = ANY(key_ids)`, key)
}

// list returns the servers that the condition names. args are $2 and up.
func list(ctx context.Context, pool *pgxpool.Pool, condition string, args ...any) ([]Instance, error) {
	rows, _ := pool.Query(ctx, `
		SELECT id, hostname, version, schema_version, key_ids, started, last_seen,
		       last_seen > now() - $1::interval, untrusted_proxy
		FROM cairn.instances WHERE `+condition+` ORDER BY started, id`, append([]any{LiveFor}, args...)...) // CollectRows returns its error
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Instance])
	if err != nil {
		return nil, fmt.Errorf("instance: list: %w", err)
	}
	return all, nil
}
