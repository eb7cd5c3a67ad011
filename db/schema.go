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

// Newest is the highest version among the embedded migrations: the schema that this program needs.
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
		return 0, fmt.Errorf("db: read the schema version: %w", concealed(err))
	}
	return version, nil
}

// CheckSchema tells whether the schema has all that this program needs. A newer one has: going back one release must be
// possible.
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
