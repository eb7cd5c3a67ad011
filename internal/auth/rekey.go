package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/seal"
)

// AppKeys counts the secrets of authenticator apps by the id of the key that sealed them, in hex.
func AppKeys(ctx context.Context, pool *pgxpool.Pool) (map[string]int, error) {
	rows, _ := pool.Query(ctx, `
		SELECT encode(substring(app FROM 2 FOR 4), 'hex'), count(*)::int
		FROM cairn.second_factors WHERE app IS NOT NULL GROUP BY 1`) // ForEachRow returns its error
	counts := map[string]int{}
	var id string
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&id, &n}, func() error { counts[id] = n; return nil }); err != nil {
		return nil, fmt.Errorf("auth: count keys: %w", err)
	}
	return counts, nil
}

// CheckKeys checks that the configured keys are enough to open the secret of every authenticator app. Errors:
// seal.ErrKey, with the ids of the missing keys.
func (a *Accounts) CheckKeys(ctx context.Context) error {
	// It jumps through an index from one key to the next.
	rows, _ := a.pool.Query(ctx, `
		WITH RECURSIVE used (key) AS (
			SELECT min(encode(substring(app FROM 2 FOR 4), 'hex')) FROM cairn.second_factors
			UNION ALL
			SELECT (SELECT min(encode(substring(app FROM 2 FOR 4), 'hex')) FROM cairn.second_factors
			        WHERE encode(substring(app FROM 2 FOR 4), 'hex') > used.key)
			FROM used WHERE used.key IS NOT NULL
		)
		SELECT key FROM used WHERE key <> ALL($1) ORDER BY key`, a.sealer.KeyIDs()) // CollectRows returns its error
	missing, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("auth: check keys: %w", err)
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: authenticator apps need the key %s", seal.ErrKey, strings.Join(missing, ", "))
	}
	return nil
}

const rekeyBatch = 100

type sealedApp struct {
	UserID int64
	Sealed []byte
}

// Rekey seals the secrets of all authenticator apps with the newest key that are not sealed with it yet, and returns
// how many. It can be stopped and run again at any time. A secret that does not open is left as it is. Errors:
// seal.ErrOpen, with the associated data of all such secrets.
func (a *Accounts) Rekey(ctx context.Context) (done int, err error) {
	var damaged []error
	for last := int64(0); ; {
		rows, _ := a.pool.Query(ctx, `
			SELECT user_id, app FROM cairn.second_factors
			WHERE user_id > $2 AND encode(substring(app FROM 2 FOR 4), 'hex') <> $1
			ORDER BY user_id LIMIT $3`, a.sealer.KeyIDs()[0], last, rekeyBatch) // CollectRows returns its error
		batch, err := pgx.CollectRows(rows, pgx.RowToStructByPos[sealedApp])
		if err != nil {
			return done, fmt.Errorf("auth: find what to rekey: %w", err)
		}
		for _, app := range batch {
			last = app.UserID
			n, err := a.rekey(ctx, app)
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

// rekey returns 1 if it has sealed a secret again, 0 if that has changed since it was read.
func (a *Accounts) rekey(ctx context.Context, app sealedApp) (n int, err error) {
	plain, err := a.sealer.Open(app.Sealed, appData(app.UserID))
	if err != nil {
		return 0, fmt.Errorf("auth: rekey %s: %w", appData(app.UserID), err)
	}
	tag, err := a.pool.Exec(ctx, `UPDATE cairn.second_factors SET app = $3 WHERE user_id = $1 AND app = $2`,
		app.UserID, app.Sealed, a.sealer.Seal(plain, appData(app.UserID)))
	if err != nil {
		return 0, fmt.Errorf("auth: rekey %s: %w", appData(app.UserID), err)
	}
	return int(tag.RowsAffected()), nil
}
