package db

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pressly/goose/v3"
)

// Report is the result of Inspect.
type Report struct {
	Address  string        // hosts and ports, without credentials
	Server   string        // PostgreSQL's version, like 17.6
	Took     time.Duration // of a round trip
	ReadOnly string        // why it is read-only; "": it is not
	Ahead    time.Duration // of this machine's clock over the database's, within a round trip
	Version  int64         // of the schema; 0: there is none yet
	Known    int64         // the newest version that this program supports
	Pending  []string      // migrations that Migrate would run, by file name

	MayMigrate bool // the user may create or change the schema

	Pooler    string   // mode of a connection pooler, "transaction" or "session"; "": there is none
	Unlimited []string // with a pooler: the time limits that PostgreSQL does not apply outside transactions
}

// Inspect reports about a database and changes nothing. Its errors contain no credentials.
func Inspect(ctx context.Context, pool *pgxpool.Pool) (Report, error) {
	r := Report{Address: address(pool.Config())}
	var recovering, readOnly, hasSchema bool
	var now time.Time
	asked := time.Now()
	err := pool.QueryRow(ctx, `
		SELECT split_part(current_setting('server_version'), ' ', 1), pg_is_in_recovery(),
		       current_setting('default_transaction_read_only')::boolean,
		       clock_timestamp(), to_regclass('cairn.goose_db_version') IS NOT NULL,
		       CASE WHEN to_regnamespace('cairn') IS NULL THEN has_database_privilege(current_database(), 'CREATE')
		            ELSE has_schema_privilege(to_regnamespace('cairn')::oid, 'CREATE') END`,
		pgx.QueryExecModeExec, // no round trip to prepare it first
	).
		Scan(&r.Server, &recovering, &readOnly, &now, &hasSchema, &r.MayMigrate)
	if err != nil {
		return Report{}, fmt.Errorf("db: inspect: %w", redacted(err))
	}
	r.Took = time.Since(asked)
	r.Ahead = asked.Add(r.Took / 2).Sub(now)
	switch {
	case recovering:
		r.ReadOnly = "it is a standby"
	case readOnly:
		r.ReadOnly = "default_transaction_read_only is on"
	}
	if hasSchema {
		err = pool.QueryRow(ctx, `
			SELECT coalesce(max(version_id), 0) FROM cairn.goose_db_version WHERE is_applied`).Scan(&r.Version)
		if err != nil {
			return Report{}, fmt.Errorf("db: inspect the schema: %w", redacted(err))
		}
	}
	if Pooled(pool) {
		if err := r.inspectPooler(ctx, pool); err != nil {
			return Report{}, fmt.Errorf("db: inspect the connection pooler: %w", redacted(err))
		}
	}
	r.Known = Newest()
	r.Pending, err = pending(r.Version)
	return r, err
}

func (r *Report) inspectPooler(ctx context.Context, pool *pgxpool.Pool) (err error) {
	if r.Pooler, err = mode(ctx, pool); err != nil {
		return err
	}
	rows, _ := pool.Query(ctx, `
		SELECT name FROM pg_settings
		WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout') AND setting = '0'
		ORDER BY name`) // CollectRows returns its error
	r.Unlimited, err = pgx.CollectRows(rows, pgx.RowTo[string])
	return err
}

// pending lists the embedded migrations that come after a version.
func pending(version int64) (names []string, err error) {
	files, err := fs.Glob(Migrations(), "*.sql")
	if err != nil {
		return nil, fmt.Errorf("db: list the migrations: %w", err)
	}
	for _, name := range files {
		number, err := goose.NumericComponent(name)
		if err != nil {
			return nil, fmt.Errorf("db: list the migrations: %w", err)
		}
		if number > version {
			names = append(names, name)
		}
	}
	return names, nil
}
