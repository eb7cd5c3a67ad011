package node

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db"
)

// countTime is how long each statement may take that counts rows for an operator.
const countTime = time.Minute

// readSnapshot reads in a transaction that sees one moment. Each statement may take as long as limit: reading a whole
// table takes longer than other statements may.
func readSnapshot(
	ctx context.Context, pool *pgxpool.Pool, limit time.Duration, read func(context.Context, pgx.Tx) error,
) error {
	ctx = db.WithStatementTime(ctx, limit)
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	return pgx.BeginTxFunc(ctx, pool, options, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `SELECT set_config('statement_timeout', $1, true)`, fmt.Sprint(limit.Milliseconds()))
		if err != nil {
			return fmt.Errorf("node: begin to read: %w", err)
		}
		return read(ctx, tx)
	})
}
