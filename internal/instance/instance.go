// Package instance registers the running servers in cairn.instances. Each server inserts a row when it starts, updates
// it regularly, and deletes it when it stops. The rows decide which encryption key seals: one that every server holds,
// so that all can read what one writes.
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

	"cairn/db"
)

const (
	// LiveFor is how long a server counts as live after its last announcement.
	LiveFor = 2 * time.Minute
	// staleRetention is how long the row of a killed server is kept.
	staleRetention = time.Hour
)

// Instance is the row of a server. All times are from the database's clock.
type Instance struct {
	ID, Hostname, Version string
	Schema                int64    // the version of the schema that it needs
	Keys                  []string // the ids of its encryption keys, the newest first
	Started, LastSeen     time.Time
	Live                  bool // announced within LiveFor
	// UntrustedProxy is the last peer that sent X-Forwarded-For without being a trusted proxy; nil: none.
	UntrustedProxy *netip.Addr
}

// Self is the server in this process. Make it with New.
type Self struct {
	Instance
	pool      *pgxpool.Pool
	untrusted atomic.Pointer[netip.Addr]
}

// NoteUntrusted adds to the next announcement a peer that sent X-Forwarded-For without being a trusted proxy.
func (s *Self) NoteUntrusted(peer netip.Addr) { s.untrusted.Store(&peer) }

// New returns a server with a new id. Announce registers it.
func New(pool *pgxpool.Pool, hostname, version string, schema int64, keys []string) *Self {
	id := strings.ToLower(rand.Text()[:8])
	me := Instance{ID: id, Hostname: hostname, Version: version, Schema: schema, Keys: keys}
	return &Self{Instance: me, pool: pool}
}

// Announce inserts or updates the row of this server and returns the id of the key to seal with, in one statement. That
// is the newest key that every other live server holds too, or its own newest if they have none in common.
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

// Leave deletes the row of this server.
func (s *Self) Leave(ctx context.Context) error {
	if _, err := s.pool.Exec(ctx, `DELETE FROM cairn.instances WHERE id = $1`, s.ID); err != nil {
		return fmt.Errorf("instance: leave: %w", err)
	}
	return nil
}

// Sweep deletes one batch of rows of servers that were killed, and reports whether more may be left.
func (s *Self) Sweep(ctx context.Context) (more bool, err error) {
	tag, err := s.pool.Exec(ctx, `
		DELETE FROM cairn.instances WHERE id IN (
			SELECT id FROM cairn.instances WHERE last_seen < now() - $1::interval
			ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED)`,
		staleRetention, db.Batch)
	if err != nil {
		return false, fmt.Errorf("instance: sweep: %w", err)
	}
	return tag.RowsAffected() == db.Batch, nil
}

// List returns all registered servers, the oldest first.
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

// list returns the servers that match the condition. args are $2 and up.
func list(ctx context.Context, pool *pgxpool.Pool, condition string, args ...any) ([]Instance, error) {
	// CollectRows returns the error of Query.
	rows, _ := pool.Query(ctx, `
		SELECT id, hostname, version, schema_version, key_ids, started, last_seen,
		       last_seen > now() - $1::interval, untrusted_proxy
		FROM cairn.instances WHERE `+condition+` ORDER BY started, id`, append([]any{LiveFor}, args...)...)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Instance])
	if err != nil {
		return nil, fmt.Errorf("instance: list: %w", err)
	}
	return all, nil
}
