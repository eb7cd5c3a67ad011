package db

import (
	"context"

	"github.com/jackc/pgx/v5/pgconn"
)

// answers tells whether the server at the other end still answers. It is a round trip, but no transaction: pgx's Ping
// would be one, and a server that has nothing to do would make as many of these as of its own.
func answers(ctx context.Context, conn *pgconn.PgConn) bool {
	pipeline := conn.StartPipeline(ctx)
	if pipeline.Sync() != nil {
		return false
	}
	return pipeline.Close() == nil
}
