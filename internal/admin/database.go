package admin

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
	"cairn/internal/config"
)

// AboutMigrate explains Migrate.
const AboutMigrate = `
It may run while servers of this version or the one before run. If several run at
once, one works and the others wait. Without DATABASE_URL it migrates the private
database below DATA_DIR.
`

// Migrate migrates the database. If none is configured, it makes a private one.
func Migrate(ctx context.Context, e Env, _ io.Writer) error {
	if err := Parse(e.Args, nil); err != nil {
		return err
	}
	c, err := e.Config()
	if err != nil {
		return err
	}
	log, flush := e.Log(c.LogLevel)
	defer flush()
	return WithDatabase(ctx, c, log, func(*pgxpool.Pool) error { return nil })
}

// WithDatabase opens and migrates the database, and closes it after use. If none is configured, it makes and starts a
// private one.
func WithDatabase(ctx context.Context, c config.Config, log *slog.Logger, use func(*pgxpool.Pool) error) error {
	at, stop, err := address(ctx, c, embedded.Options{Dir: c.DataDir, Log: log})
	if err != nil {
		return err
	}
	defer stop()
	return withPool(ctx, at, log, func(pool *pgxpool.Pool) error {
		if err := migrate(ctx, c, pool, log); err != nil {
			return err
		}
		return use(pool)
	})
}

// migrate bypasses the connection pooler if DIRECT_DATABASE_URL is set.
func migrate(ctx context.Context, c config.Config, pool *pgxpool.Pool, log *slog.Logger) error {
	if c.DirectDatabaseURL == "" {
		return db.Migrate(ctx, pool, log)
	}
	direct, err := openDirect(ctx, c, pool, log)
	if err != nil {
		return err
	}
	defer direct.Close()
	return db.Migrate(ctx, direct, log)
}

// openDirect opens DIRECT_DATABASE_URL, and makes sure that it leads to the database of pool without a pooler.
func openDirect(ctx context.Context, c config.Config, pool *pgxpool.Pool, log *slog.Logger) (*pgxpool.Pool, error) {
	direct, err := db.Open(ctx, c.DirectDatabaseURL, log)
	if err != nil {
		return nil, fmt.Errorf("DIRECT_DATABASE_URL: %w", err)
	}
	same, err := db.Same(ctx, pool, direct)
	switch {
	case err != nil:
		err = fmt.Errorf("DIRECT_DATABASE_URL: %w", err)
	case db.Pooled(direct):
		err = errors.New("DIRECT_DATABASE_URL leads to a connection pooler, which it has to bypass")
	case !same:
		err = errors.New("DIRECT_DATABASE_URL leads to another database than DATABASE_URL")
	}
	if err != nil {
		direct.Close()
		return nil, err
	}
	return direct, nil
}

// Database reads the environment and opens the database, which it neither makes nor migrates. It fails if the schema is
// older than this program.
func (e Env) Database(ctx context.Context, use func(config.Config, *pgxpool.Pool) error) error {
	c, err := e.Config()
	if err != nil {
		return err
	}
	log, flush := e.Log(c.LogLevel)
	defer flush()
	at, stop, err := existing(ctx, c)
	if err != nil {
		return fmt.Errorf("database: %w", err)
	}
	defer stop()
	return withPool(ctx, at, log, func(pool *pgxpool.Pool) error {
		if err := db.CheckSchema(ctx, pool); err != nil {
			return err
		}
		return use(c, pool)
	})
}

func withPool(ctx context.Context, address string, log *slog.Logger, use func(*pgxpool.Pool) error) error {
	pool, err := db.Open(ctx, address, log)
	if err != nil {
		return err
	}
	defer pool.Close()
	return use(pool)
}

// errNoDatabase says that there is no private database yet.
var errNoDatabase = errors.New(
	"there is none yet: the first start makes a private one in DATA_DIR, or set DATABASE_URL")

// existing is address for commands that make no private database. Errors: errNoDatabase.
func existing(ctx context.Context, c config.Config) (at string, stop func(), err error) {
	_, err = os.Lstat(filepath.Join(c.DataDir, "postgres"))
	if c.DatabaseURL == "" && !c.Production && errors.Is(err, fs.ErrNotExist) {
		return "", func() {}, errNoDatabase
	}
	return address(ctx, c, embedded.Options{Dir: c.DataDir})
}

// address returns the address of the database. If none is configured in development, it makes and starts a private one,
// which stop stops unless other processes use it.
func address(ctx context.Context, c config.Config, private embedded.Options) (at string, stop func(), err error) {
	switch {
	case c.DatabaseURL != "":
		return c.DatabaseURL, func() {}, nil
	case c.Production:
		return "", func() {}, errors.New("DATABASE_URL is not set")
	}
	server, err := embedded.Start(ctx, private)
	if err != nil {
		return "", func() {}, err
	}
	return server.URL(), func() { _ = server.Stop() }, nil
}
