package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pressly/goose/v3"
)

// Newest returns the highest version of the embedded migrations: the schema version that this program needs.
func Newest() int64 {
	names, _ := fs.Glob(Migrations(), "*.sql")
	newest, err := goose.NumericComponent(names[len(names)-1])
	if err != nil {
		panic(err) // the files are part of the program
	}
	return newest
}

// Version returns the version of the schema, 0 if there is none.
func Version(ctx context.Context, pool *pgxpool.Pool) (version int64, err error) {
	err = pool.QueryRow(ctx, `SELECT coalesce(max(version_id), 0) FROM cairn.goose_db_version WHERE is_applied`,
		pgx.QueryExecModeExec, // no round trip to prepare it first
	).Scan(&version)
	if noSchema(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("db: read the schema version: %w", redacted(err))
	}
	return version, nil
}

// CheckSchema returns an error if the schema is older than this program needs. A newer one is fine, so that one can go
// back a release.
func CheckSchema(ctx context.Context, pool *pgxpool.Pool) error {
	version, err := Version(ctx, pool)
	switch {
	case err != nil:
		return err
	case version == 0:
		return errors.New("the database has no schema yet: run server migrate, or start a server")
	case version < Newest():
		return fmt.Errorf("the schema is older than this program: it has version %d, needed is %d: "+
			"run server migrate, or start a server of this version", version, Newest())
	}
	return nil
}
