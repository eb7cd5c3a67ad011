package db

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

//go:embed migrations/*.sql
var embedded embed.FS

// Migrations are the embedded files, named as goose wants them: 0001_what.sql.
func Migrations() fs.FS {
	files, err := fs.Sub(embedded, "migrations")
	if err != nil {
		panic(err) // not a valid path: cannot be
	}
	return files
}

// Migrate brings the schema cairn up to date. Any number of instances may do so at once: one works, the others wait for
// it, until ctx ends. A database that is newer than this program is left as it is, because going back one release must
// be possible. The lock is held by a session, so the connection must not go through a transaction pooler.
func Migrate(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	return migrate(ctx, pool, log, Migrations())
}

func migrate(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger, files fs.FS) error {
	config := patient(pool)
	lock, err := lockMigrations(ctx, config.ConnConfig, log)
	if err != nil {
		return fmt.Errorf("db: lock the migrations: %w", concealed(err))
	}
	defer hangUp(ctx, lock)
	// goose would use a lock of its own only after looking for, and creating, its table: too late for us.
	if err := createSchema(ctx, lock); err != nil {
		return fmt.Errorf("db: create the schema: %w", err)
	}
	if err := migrateJobs(ctx, config, log); err != nil {
		return err
	}
	database := stdlib.OpenDB(*config.ConnConfig)
	defer func() { _ = database.Close() }()
	provider, err := goose.NewProvider(goose.DialectPostgres, database, files,
		goose.WithTableName("cairn.goose_db_version"),
		goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return fmt.Errorf("db: read the migrations: %w", err)
	}
	applied, err := provider.Up(ctx)
	if err != nil {
		return fmt.Errorf("db: migrate: %w", concealed(err))
	}
	for _, migration := range applied {
		log.InfoContext(ctx, "migrated the database", "migration", migration.Source.Path, "duration", migration.Duration)
	}
	version, target, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("db: read the schema version: %w", concealed(err))
	}
	if version > target {
		log.WarnContext(ctx, "the database is newer than this program", "version", version, "known", target)
	}
	return nil
}

// migrateJobs brings river's tables up to date. It comes before our own migrations, so that whoever has the newest of
// these has river's too.
func migrateJobs(ctx context.Context, config *pgxpool.Config, log *slog.Logger) error {
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("db: connect for river's migrations: %w", concealed(err))
	}
	defer pool.Close()
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: "cairn", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("db: read river's migrations: %w", err)
	}
	done, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	if err != nil {
		return fmt.Errorf("db: migrate river's tables: %w", concealed(err))
	}
	for _, version := range done.Versions {
		log.InfoContext(ctx, "migrated the database", "migration", "river "+version.Name, "duration", version.Duration)
	}
	return nil
}

// lockKey is the advisory lock of everything that changes the schema: "cairn" in ASCII.
const lockKey = 0x636169726e

// lockMigrations returns a connection that holds the lock until it is closed.
func lockMigrations(ctx context.Context, config *pgx.ConnConfig, log *slog.Logger) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	var held bool
	err = conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", lockKey).Scan(&held)
	if err == nil && !held {
		log.InfoContext(ctx, "another instance is migrating the database, waiting for it")
		_, err = conn.Exec(ctx, "SELECT pg_advisory_lock($1)", lockKey)
	}
	if err != nil {
		hangUp(ctx, conn)
		return nil, err
	}
	return conn, nil
}

// hangUp closes conn even when ctx has ended, so that the server frees the lock now.
func hangUp(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
	defer cancel()
	_ = conn.Close(ctx)
}

// createSchema asks first, because even IF NOT EXISTS needs the right to create, which a schema's owner may lack.
func createSchema(ctx context.Context, conn *pgx.Conn) error {
	var exists bool
	err := conn.QueryRow(ctx, "SELECT to_regnamespace('cairn') IS NOT NULL").Scan(&exists)
	if err != nil || exists {
		return err
	}
	_, err = conn.Exec(ctx, "CREATE SCHEMA cairn")
	return err
}

// patient is the pool's configuration without the time limits that are meant for requests.
func patient(pool *pgxpool.Pool) *pgxpool.Config {
	config := pool.Config()
	for _, limit := range []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"} {
		config.ConnConfig.RuntimeParams[limit] = "0"
	}
	return config
}

// concealed replaces a connection error, whose text names user and database.
func concealed(err error) error {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return errors.New(explain(err).text)
	}
	return err
}

// Ready tells in one round trip whether requests can be served: the database answers, can be written to, and has at
// least the newest schema that this program knows. The error says what is missing, without credentials. Connections to a
// server that can't be written to are left: the next ones may find another.
func Ready(ctx context.Context, pool *pgxpool.Pool) error {
	var recovering, writeProtected bool
	var version int64
	err := pool.QueryRow(ctx, `
		SELECT pg_is_in_recovery(),
		       current_setting('default_transaction_read_only')::boolean,
		       (SELECT coalesce(max(version_id), 0) FROM cairn.goose_db_version WHERE is_applied)`,
		pgx.QueryExecModeExec, // no round trip to prepare it first
	).Scan(&recovering, &writeProtected, &version)
	if recovering || writeProtected {
		pool.Reset()
	}
	switch refusal, _ := errors.AsType[*pgconn.PgError](err); {
	case refusal != nil && (refusal.Code == "42P01" || refusal.Code == "3F000"):
		return errors.New("db: not ready: the database has no schema yet, run the migrations")
	case refusal != nil:
		return fmt.Errorf("db: not ready: the database refuses the question (SQLSTATE %s)", refusal.Code)
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("db: not ready: the database does not answer: %w", context.Cause(ctx))
	case err != nil:
		return fmt.Errorf("db: not ready: the database does not answer: %s", explain(err).text)
	case recovering:
		return errors.New("db: not ready: the database is a standby and cannot be written to")
	case writeProtected:
		return errors.New("db: not ready: the database is read-only")
	case version < Newest():
		return fmt.Errorf("db: not ready: the schema has version %d, this program needs %d", version, Newest())
	}
	return nil
}
