package db_test

import (
	"strings"
	"testing"

	"cairn/db"
	"cairn/db/dbtest"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// A database of the release before providers were rows keeps what is in it. A migration that was cut off between its
// statements begins again.
func TestProvidersBecomeRows(t *testing.T) {
	t.Parallel()
	pool := open(t, dbtest.NewEmptyURL(t))
	migrateTo(t, pool, 16)
	execute(t, pool, `
		WITH u AS (INSERT INTO cairn.users (display_name) VALUES ('Ada') RETURNING id),
		     i AS (INSERT INTO cairn.identities (user_id, provider, subject)
		           SELECT id, 'strava', 'ada' FROM u RETURNING id, user_id),
		     s AS (INSERT INTO cairn.sessions (token, data, expiry, user_id, method)
		           SELECT 'token', '', now(), id, 'strava' FROM u)
		INSERT INTO cairn.connections (identity_id, user_id, provider, sealed_tokens)
		SELECT id, user_id, 'strava', '' FROM i`)
	migrateTo(t, pool, 18)
	execute(t, pool, `DELETE FROM cairn.goose_db_version WHERE version_id > 16`)
	if err := db.Migrate(t.Context(), pool, quiet()); err != nil {
		t.Fatal(err)
	}
	wantOne(t, pool, `SELECT count(*) FROM cairn.connections WHERE subject = 'ada'`)
	wantOne(t, pool, `SELECT count(*) FROM cairn.budgets WHERE provider = 'strava' AND day_limit = 1000`)
	var unsure int
	err := pool.QueryRow(t.Context(), `
		SELECT count(*) FROM pg_constraint
		WHERE connamespace = 'cairn'::regnamespace AND NOT convalidated`).Scan(&unsure)
	if err != nil || unsure != 0 {
		t.Errorf("%d constraints were not checked (error %v)", unsure, err)
	}
}

// A row makes a provider. The release before inserts connections without a subject.
func TestProviderIsOneRow(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	signUp := `
		WITH u AS (INSERT INTO cairn.users (display_name) VALUES ('Ada') RETURNING id),
		     s AS (INSERT INTO cairn.sessions (token, data, expiry, user_id, method)
		           SELECT 'token', '', now(), id, 'fourth' FROM u)
		INSERT INTO cairn.identities (user_id, provider, subject) SELECT id, 'fourth', 'ada' FROM u`
	if _, err := pool.Exec(t.Context(), signUp); err == nil || !strings.Contains(err.Error(), "foreign key") {
		t.Errorf("an unknown provider: error %v", err)
	}
	execute(t, pool, `INSERT INTO cairn.providers (key) VALUES ('fourth')`)
	execute(t, pool, signUp)
	execute(t, pool, `
		INSERT INTO cairn.connections (identity_id, user_id, provider, sealed_tokens)
		SELECT id, user_id, provider, '' FROM cairn.identities`)
	wantOne(t, pool, `SELECT count(*) FROM cairn.connections WHERE subject = 'ada'`)
	wantOne(t, pool, `SELECT count(*) FROM cairn.budgets WHERE provider = 'fourth'`)
}

// The release before writes, reads and deletes sync requests under their old names.
func TestErrandsAreSyncRequests(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	execute(t, pool, `
		WITH u AS (INSERT INTO cairn.users (display_name) VALUES ('Ada') RETURNING id),
		     i AS (INSERT INTO cairn.identities (user_id, provider, subject)
		           SELECT id, 'strava', 'ada' FROM u RETURNING id, user_id)
		INSERT INTO cairn.connections (identity_id, user_id, provider, sealed_tokens)
		SELECT id, user_id, 'strava', '' FROM i`)
	request := `
		INSERT INTO cairn.errands (identity_id, what) SELECT identity_id, 'fetch' FROM cairn.connections
		ON CONFLICT (identity_id, what) DO UPDATE SET reason = EXCLUDED.reason, at = EXCLUDED.at`
	execute(t, pool, request)
	execute(t, pool, `UPDATE cairn.sync_requests SET requested_at = now() - interval '1 hour'`)
	execute(t, pool, request)
	wantOne(t, pool, `
		SELECT count(*) FROM cairn.sync_requests
		WHERE kind = 'fetch' AND number > 1 AND requested_at > now() - interval '5 minutes'`)
	execute(t, pool, `
		UPDATE cairn.errands e SET awaited = true FROM cairn.identities i
		WHERE i.id = e.identity_id AND e.what = 'fetch'`)
	wantOne(t, pool, `SELECT count(*) FROM cairn.sync_requests WHERE awaited`)
	execute(t, pool, `DELETE FROM cairn.errands WHERE what = 'fetch' AND at < now() + interval '1 minute'`)
	wantOne(t, pool, `SELECT 1 - count(*) FROM cairn.sync_requests`)
}

func wantOne(t *testing.T, pool *pgxpool.Pool, query string) {
	t.Helper()
	var n int
	if err := pool.QueryRow(t.Context(), query).Scan(&n); err != nil || n != 1 {
		t.Errorf("%s: got %d (error %v)", query, n, err)
	}
}

// migrateTo applies our migrations up to a version, and none of river's.
func migrateTo(t *testing.T, pool *pgxpool.Pool, version int64) {
	t.Helper()
	execute(t, pool, `CREATE SCHEMA IF NOT EXISTS cairn`)
	database := stdlib.OpenDBFromPool(pool)
	defer func() { _ = database.Close() }()
	provider, err := goose.NewProvider(goose.DialectPostgres, database, db.Migrations(),
		goose.WithTableName("cairn.goose_db_version"), goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()))
	if err == nil {
		_, err = provider.UpTo(t.Context(), version)
	}
	if err != nil {
		t.Fatal(err)
	}
}
