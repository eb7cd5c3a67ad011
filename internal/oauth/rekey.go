package oauth

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Keys counts the connections by the id of the key that sealed their tokens, in hex. The id stands behind the first byte
// of a sealed value (package seal).
func (s *Store) Keys(ctx context.Context) (map[string]int, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT encode(substring(sealed_tokens FROM 2 FOR 4), 'hex'), count(*)::int FROM cairn.connections GROUP BY 1`)
	if err != nil {
		return nil, fmt.Errorf("oauth: count keys: %w", err)
	}
	counts := map[string]int{}
	var id string
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&id, &n}, func() error { counts[id] = n; return nil }); err != nil {
		return nil, fmt.Errorf("oauth: count keys: %w", err)
	}
	return counts, nil
}

// CheckKeys tells whether every connection can be opened with the configured keys. Its error names the ids of those that
// are missing.
func (s *Store) CheckKeys(ctx context.Context) error {
	counts, err := s.Keys(ctx)
	if err != nil {
		return err
	}
	for id, n := range counts {
		if !slices.Contains(s.sealer.KeyIDs(), id) {
			return fmt.Errorf("oauth: %d connections are sealed with the key %s, which is not configured", n, id)
		}
	}
	return nil
}

const rekeyBatch = 100

// Rekey seals one batch of connections anew that are not sealed with the newest key, and returns how many it did and
// whether more may be left. It can be stopped and run again at any time, also beside servers that refresh tokens: a value
// that changed since it was read is sealed with the newest key already.
func (s *Store) Rekey(ctx context.Context) (done int, more bool, err error) {
	rows, err := s.pool.Query(ctx, `
		SELECT identity_id, user_id, provider, sealed_tokens FROM cairn.connections
		WHERE encode(substring(sealed_tokens FROM 2 FOR 4), 'hex') <> $1
		ORDER BY identity_id LIMIT $2`, s.sealer.KeyIDs()[0], rekeyBatch)
	if err != nil {
		return 0, false, fmt.Errorf("oauth: find what to rekey: %w", err)
	}
	type row struct {
		IdentityID, UserID int64
		Provider           string
		Sealed             []byte
	}
	batch, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
	if err != nil {
		return 0, false, fmt.Errorf("oauth: find what to rekey: %w", err)
	}
	for _, r := range batch {
		at := place(r.IdentityID, r.UserID, r.Provider)
		plain, err := s.sealer.Open(r.Sealed, at)
		if err != nil {
			return done, false, fmt.Errorf("oauth: rekey identity %d: %w", r.IdentityID, err)
		}
		_, err = s.pool.Exec(ctx, `UPDATE cairn.connections SET sealed_tokens = $3 WHERE identity_id = $1 AND sealed_tokens = $2`,
			r.IdentityID, r.Sealed, s.sealer.Seal(plain, at))
		if err != nil {
			return done, false, fmt.Errorf("oauth: rekey identity %d: %w", r.IdentityID, err)
		}
		done++
	}
	return done, len(batch) == rekeyBatch, nil
}
