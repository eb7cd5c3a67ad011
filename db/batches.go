package db

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Batch is how many rows one statement sweeps at most, so that none exceeds its time limit, however much is left over
// from an outage.
const Batch = 500

// InBatches repeats a statement, whose last argument is the most rows that it may change, until it changes fewer.
func InBatches(ctx context.Context, pool *pgxpool.Pool, statement string, args ...any) error {
	args = append(slices.Clone(args), Batch)
	for {
		tag, err := pool.Exec(ctx, statement, args...)
		if err != nil || tag.RowsAffected() < Batch {
			return err
		}
	}
}
