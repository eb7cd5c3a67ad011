package db

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"time"

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
		panic(err) // the path is valid
	}
	return files
}

// Migrate is Migrator's Up with its defaults.
func Migrate(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	return Migrator{Pool: pool, Log: log}.Up(ctx)
}

// Migrator brings the schema cairn up to date.
type Migrator struct {
	Pool     *pgxpool.Pool
	Log      *slog.Logger
	LockWait time.Duration // for the migration of another instance; 0: five minutes
}

// migrationLock is the key of the lock for changes of the schema: "cairn" in ASCII.
const (
	migrationLock = 0x636169726e
	lockWait      = 5 * time.Minute
)

// Up brings the schema up to date. If several instances do that at once, one migrates and the others wait. A database
// that is newer than this program stays as it is, so that one can go back a release. Errors: ErrLocked.
func (m Migrator) Up(ctx context.Context) error {
	pool, err := m.openPool(ctx)
	if err != nil {
		return fmt.Errorf("db: connect to migrate: %w", err)
	}
	defer pool.Close()
	lock := Lock{Key: migrationLock, Name: "cairn migrate", Wait: cmp.Or(m.LockWait, lockWait), Log: m.Log}
	// goose's own lock would come too late: after it has created its table.
	err = lock.Hold(ctx, pool, func(ctx context.Context, _ func() error) error { return m.up(ctx, pool) })
	if err != nil {
		return fmt.Errorf("db: migrate: %w", redacted(err))
	}
	return nil
}

func (m Migrator) up(ctx context.Context, pool *pgxpool.Pool) error {
	if err := createSchema(ctx, pool); err != nil {
		return fmt.Errorf("create the schema: %w", err)
	}
	if err := m.jobs(ctx, pool); err != nil {
		return err
	}
	database := stdlib.OpenDBFromPool(pool)
	defer func() { _ = database.Close() }()
	provider, err := goose.NewProvider(goose.DialectPostgres, database, Migrations(),
		goose.WithTableName("cairn.goose_db_version"),
		goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	applied, err := provider.Up(ctx)
	if err != nil {
		return err
	}
	for _, migration := range applied {
		m.Log.InfoContext(ctx, "migrated the database",
			"migration", migration.Source.Path, "duration", migration.Duration)
	}
	version, target, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the schema version: %w", err)
	}
	if version > target {
		m.Log.WarnContext(ctx, "the database is newer than this program", "version", version, "supported", target)
	}
	return nil
}

// jobs brings river's tables up to date. It runs before our own migrations, so a database with the newest of these has
// river's, too.
func (m Migrator) jobs(ctx context.Context, pool *pgxpool.Pool) error {
	config := &rivermigrate.Config{Schema: "cairn", Logger: slog.New(slog.DiscardHandler)}
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), config)
	if err != nil {
		return fmt.Errorf("read river's migrations: %w", err)
	}
	done, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	if err != nil {
		return fmt.Errorf("migrate river's tables: %w", err)
	}
	for _, version := range done.Versions {
		m.Log.InfoContext(ctx, "migrated the database",
			"migration", "river "+version.Name, "duration", version.Duration)
	}
	return nil
}

// migrateConns are one for the lock, and one for the work.
const migrateConns = 2

// openPool opens a pool without the time limits of requests, and waits until it has all its connections.
func (m Migrator) openPool(ctx context.Context) (*pgxpool.Pool, error) {
	config := m.Pool.Config()
	config.MaxConns, config.MinConns, config.MinIdleConns = migrateConns, 0, 0
	// A migration waits for nothing outside the database, so an idle transaction has lost its process.
	limit := &limits{statement: "0", lock: "0", idle: fmt.Sprint(lockIdle.Milliseconds())}
	if Pooled(m.Pool) {
		config.ConnConfig.Tracer = limit
	} else {
		maps.Copy(config.ConnConfig.RuntimeParams, map[string]string{
			"statement_timeout":                   limit.statement,
			"lock_timeout":                        limit.lock,
			"idle_in_transaction_session_timeout": limit.idle,
		})
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, errors.New(explain(err).text)
	}
	if err := retry(ctx, m.Log, func(ctx context.Context) error { return fill(ctx, pool) }); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

// fill opens all connections of a pool.
func fill(ctx context.Context, pool *pgxpool.Pool) error {
	for range pool.Config().MaxConns {
		conn, err := pool.Acquire(ctx)
		if err != nil {
			return err
		}
		defer conn.Release()
	}
	return nil
}

// createSchema checks first: even IF NOT EXISTS needs the right to create, which a schema's owner may lack.
func createSchema(ctx context.Context, pool *pgxpool.Pool) error {
	var exists bool
	err := pool.QueryRow(ctx, "SELECT to_regnamespace('cairn') IS NOT NULL").Scan(&exists)
	if err != nil || exists {
		return err
	}
	_, err = pool.Exec(ctx, "CREATE SCHEMA cairn")
	return err
}

// redacted replaces a connection error, whose text has the user and the database, and says what to do if a right is
// missing.
func redacted(err error) error {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return errors.New(explain(err).text)
	}
	if stateOf(err) == insufficientPrivilege {
		return fmt.Errorf("the database's user may not do that; "+
			"if it is not the schema's owner, run server migrate as the owner: %w", err)
	}
	return err
}

// Ready checks in one round trip whether requests can be served: the database answers, is writable, and has at least
// the schema that this program needs. The error says what is missing, without credentials. The pool closes its
// connections to a read-only server, because new ones may reach another server.
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
	switch {
	case noSchema(err):
		return errors.New("db: not ready: the database has no schema yet, run the migrations")
	case stateOf(err) != "":
		return fmt.Errorf("db: not ready: the database refuses the query (SQLSTATE %s)", stateOf(err))
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
