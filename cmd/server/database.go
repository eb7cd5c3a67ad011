package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db"
	"cairn/db/embedded"
)

const aboutMigrate = `
It may run beside servers of this version and of the one before. Any number of
them may run at once: one works, the others wait. Without DATABASE_URL it works on
the private database below DATA_DIR.
`

func migrateCommand(ctx context.Context, e env, _ io.Writer) error {
	if err := parse(e.args, nil); err != nil {
		return err
	}
	config, err := e.config()
	if err != nil {
		return err
	}
	log, flush := newLogger(e.stderr, config.LogLevel)
	defer flush()
	return withDatabase(ctx, config, log, func(*pgxpool.Pool) error { return nil })
}

// withDatabase opens and migrates the database, making and starting a private one if none is configured, and closes it
// after use.
func withDatabase(ctx context.Context, config Config, log *slog.Logger, use func(*pgxpool.Pool) error) error {
	address := config.DatabaseURL
	if address == "" {
		server, err := embedded.Start(ctx, embedded.Options{Dir: config.DataDir, Log: log})
		if err != nil {
			return err
		}
		defer func() { _ = server.Stop() }()
		address = server.URL()
	}
	pool, err := db.Open(ctx, address, log)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := migrate(ctx, config, pool, log); err != nil {
		return err
	}
	return use(pool)
}

// migrate goes around the connection pooler if there is a way.
func migrate(ctx context.Context, config Config, pool *pgxpool.Pool, log *slog.Logger) error {
	if config.DirectDatabaseURL == "" {
		return db.Migrate(ctx, pool, log)
	}
	direct, err := openDirect(ctx, config, pool, log)
	if err != nil {
		return err
	}
	defer direct.Close()
	return db.Migrate(ctx, direct, log)
}

// openDirect opens the database without its connection pooler, and makes sure that it is that.
func openDirect(ctx context.Context, config Config, pool *pgxpool.Pool, log *slog.Logger) (*pgxpool.Pool, error) {
	direct, err := db.Open(ctx, config.DirectDatabaseURL, log)
	if err != nil {
		return nil, fmt.Errorf("DIRECT_DATABASE_URL: %w", err)
	}
	same, err := db.Same(ctx, pool, direct)
	switch {
	case err != nil:
		err = fmt.Errorf("DIRECT_DATABASE_URL: %w", err)
	case db.Pooled(direct):
		err = errors.New("DIRECT_DATABASE_URL leads to a connection pooler: it has to be the way around it")
	case !same:
		err = errors.New("DIRECT_DATABASE_URL leads to another database than DATABASE_URL")
	}
	if err != nil {
		direct.Close()
		return nil, err
	}
	return direct, nil
}

// withSchema opens the database as it is, for commands that neither make nor migrate one. It fails if the schema is
// older than this program.
func withSchema(ctx context.Context, config Config, log *slog.Logger, use func(*pgxpool.Pool) error) error {
	address, stop, err := config.database(ctx)
	if err != nil {
		return fmt.Errorf("database: %w", err)
	}
	defer stop()
	pool, err := db.Open(ctx, address, log)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := db.CheckSchema(ctx, pool); err != nil {
		return err
	}
	return use(pool)
}

// errNoDatabase says that a private database would be made by the first start.
var errNoDatabase = errors.New(
	"there is none yet: the first start makes a private one in DATA_DIR, or set DATABASE_URL")

// database returns the address of the database. A private one is started if nobody uses it now, and stopped by stop,
// but not made.
func (c Config) database(ctx context.Context) (address string, stop func(), err error) {
	stop = func() {}
	switch _, err := os.Lstat(filepath.Join(c.DataDir, "postgres")); {
	case c.DatabaseURL != "":
		return c.DatabaseURL, stop, nil
	case c.Production:
		return "", stop, errors.New("DATABASE_URL is not set")
	case errors.Is(err, fs.ErrNotExist):
		return "", stop, errNoDatabase
	}
	server, err := embedded.Start(ctx, embedded.Options{Dir: c.DataDir})
	if err != nil {
		return "", stop, err
	}
	return server.URL(), func() { _ = server.Stop() }, nil
}
