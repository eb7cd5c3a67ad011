package connection

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/seal"
)

// Keys counts the sealed tokens, of connections and revocations, by the id of the key that sealed them, in hex. The id
// follows the first byte of a sealed value (package seal).
func Keys(ctx context.Context, pool *pgxpool.Pool) (map[string]int, error) {
	rows, err := pool.Query(ctx, `
		SELECT encode(substring(sealed_tokens FROM 2 FOR 4), 'hex'), count(*)::int
		FROM (SELECT sealed_tokens FROM cairn.connections UNION ALL SELECT sealed_tokens FROM cairn.withdrawals) t
		GROUP BY 1`)
	if err != nil {
		return nil, fmt.Errorf("connection: count keys: %w", err)
	}
	counts := map[string]int{}
	var id string
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&id, &n}, func() error { counts[id] = n; return nil }); err != nil {
		return nil, fmt.Errorf("connection: count keys: %w", err)
	}
	return counts, nil
}

// CheckKeys checks that the configured keys are enough to open every sealed token. It is cheap however many there are,
// because it jumps through an index from one key to the next. Errors: seal.ErrKey, with the ids of the missing keys.
func (s *Store) CheckKeys(ctx context.Context) error {
	rows, err := s.pool.Query(ctx, `
		WITH RECURSIVE used (key) AS (
			SELECT min(encode(substring(sealed_tokens FROM 2 FOR 4), 'hex')) FROM cairn.connections
			UNION ALL
			SELECT (SELECT min(encode(substring(sealed_tokens FROM 2 FOR 4), 'hex')) FROM cairn.connections
			        WHERE encode(substring(sealed_tokens FROM 2 FOR 4), 'hex') > used.key)
			FROM used WHERE used.key IS NOT NULL
		)
		SELECT key FROM (
			SELECT key FROM used
			UNION
			SELECT encode(substring(sealed_tokens FROM 2 FOR 4), 'hex') FROM cairn.withdrawals) t
		WHERE key <> ALL($1) ORDER BY key`, s.sealer.KeyIDs())
	if err != nil {
		return fmt.Errorf("connection: check keys: %w", err)
	}
	missing, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("connection: check keys: %w", err)
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: sealed tokens need the key %s", seal.ErrKey, strings.Join(missing, ", "))
	}
	return nil
}

const rekeyBatch = 100

// sealedRow is a row whose tokens have to be sealed again.
type sealedRow struct {
	Revocation        bool  // else a connection
	ID                int64 // of the revocation, or of the connection's identity
	UserID            int64
	Provider, Subject string
	Sealed            []byte
}

func (r sealedRow) associatedData() string {
	if r.Revocation {
		return revocationData(r.Provider, r.Subject)
	}
	return associatedData(r.ID, r.UserID, r.Provider)
}

// Rekey seals all tokens with the newest key that are not sealed with it yet, and returns how many. It can be stopped
// and run again at any time, also beside servers that refresh tokens: it leaves a value alone that has changed since it
// was read. A value that does not open is left as it is, and does not stop the others. Errors: seal.ErrOpen, with the
// associated data of all such values.
func (s *Store) Rekey(ctx context.Context) (done int, err error) {
	var damaged []error
	for last := (sealedRow{}); ; {
		batch, err := s.sealedBefore(ctx, last)
		if err != nil {
			return done, err
		}
		for _, last = range batch {
			n, err := s.rekey(ctx, last)
			switch {
			case errors.Is(err, seal.ErrOpen):
				damaged = append(damaged, err)
			case err != nil:
				return done, err
			}
			done += n
		}
		if len(batch) < rekeyBatch {
			return done, errors.Join(damaged...)
		}
	}
}

// sealedBefore returns the next batch after last of rows that are not sealed with the newest key: connections first,
// and each table in the order of an index, so that a batch does not read what was done before.
func (s *Store) sealedBefore(ctx context.Context, last sealedRow) ([]sealedRow, error) {
	rows, err := s.pool.Query(ctx, `
		(SELECT false AS revocation, identity_id AS id, user_id, provider, '' AS subject, sealed_tokens
		 FROM cairn.connections
		 WHERE encode(substring(sealed_tokens FROM 2 FOR 4), 'hex') <> $1 AND NOT $2::boolean AND identity_id > $3
		 ORDER BY identity_id LIMIT $4)
		UNION ALL
		(SELECT true, id, user_id, provider, subject, sealed_tokens FROM cairn.withdrawals
		 WHERE encode(substring(sealed_tokens FROM 2 FOR 4), 'hex') <> $1 AND (NOT $2::boolean OR id > $3)
		 ORDER BY id LIMIT $4)
		ORDER BY revocation, id LIMIT $4`, s.sealer.KeyIDs()[0], last.Revocation, last.ID, rekeyBatch)
	if err != nil {
		return nil, fmt.Errorf("connection: find what to rekey: %w", err)
	}
	batch, err := pgx.CollectRows(rows, pgx.RowToStructByPos[sealedRow])
	if err != nil {
		return nil, fmt.Errorf("connection: find what to rekey: %w", err)
	}
	return batch, nil
}

// rekey returns 1 if it has sealed the value of a row again, 0 if the value has changed since it was read.
func (s *Store) rekey(ctx context.Context, r sealedRow) (n int, err error) {
	plain, err := s.sealer.Open(r.Sealed, r.associatedData())
	if err != nil {
		return 0, fmt.Errorf("connection: rekey %s: %w", r.associatedData(), err)
	}
	update := `UPDATE cairn.connections SET sealed_tokens = $3 WHERE identity_id = $1 AND sealed_tokens = $2`
	if r.Revocation {
		update = `UPDATE cairn.withdrawals SET sealed_tokens = $3 WHERE id = $1 AND sealed_tokens = $2`
	}
	tag, err := s.pool.Exec(ctx, update, r.ID, r.Sealed, s.sealer.Seal(plain, r.associatedData()))
	if err != nil {
		return 0, fmt.Errorf("connection: rekey %s: %w", r.associatedData(), err)
	}
	return int(tag.RowsAffected()), nil
}
