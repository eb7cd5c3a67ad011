package db

import (
	"context"

	"github.com/jackc/pgx/v5/pgconn"
)

// answers reports whether the server still answers. It is a round trip without a transaction, unlike pgx's Ping, which
// would double the transactions of an idle server.
func answers(ctx context.Context, conn *pgconn.PgConn) bool {
	pipeline := conn.StartPipeline(ctx)
	if pipeline.Sync() != nil {
		return false
	}
	return pipeline.Close() == nil
}
