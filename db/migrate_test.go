package db_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"cairn/db"
	"cairn/db/dbtest"
	"cairn/internal/testkit"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"
)

func open(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := db.Open(t.Context(), url, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func execute(t *testing.T, pool *pgxpool.Pool, statement string) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func TestFiveInstancesMigrateAtOnce(t *testing.T) {
	t.Parallel()
	url := dbtest.NewEmptyURL(t)
	instances, ctx := errgroup.WithContext(t.Context())
	for range 5 {
		pool := open(t, url)
		instances.Go(func() error { return db.Migrate(ctx, pool, quiet()) })
	}
	if err := instances.Wait(); err != nil {
		t.Fatal(err)
	}
	pool := open(t, url)
	if err := db.Ready(t.Context(), pool); err != nil {
		t.Error(err)
	}
	var elsewhere, twice int
	err := pool.QueryRow(t.Context(), `
		SELECT (SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('cairn', 'pg_catalog', 'information_schema')),
		       (SELECT count(*) - count(DISTINCT version_id) FROM cairn.goose_db_version)`).Scan(&elsewhere, &twice)
	if err != nil {
		t.Fatal(err)
	}
	if elsewhere != 0 || twice != 0 {
		t.Errorf("%d tables outside our schema, %d migrations applied twice", elsewhere, twice)
	}
}

// The limits that protect requests must not cut off an instance that waits for another's long migration.
func TestMigrateOutwaitsTheLimitsOfRequests(t *testing.T) {
	t.Parallel()
	url := dbtest.NewEmptyURL(t)
	other, holder := open(t, url), acquireLock(t, url)
	lines, log := newJournal()
	done := make(chan error, 1)
	go func() { done <- db.Migrate(t.Context(), limitedTo(t, url, "100ms"), log) }()

	<-lines.first
	execute(t, other, "SELECT pg_sleep(0.5)") // five times the limits
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
	if !strings.Contains(lines.String(), "another process holds") {
		t.Errorf("the log does not say what it waits for: %s", lines)
	}
	holder.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := db.Ready(t.Context(), other); err != nil {
		t.Error(err)
	}
}

// limitedTo returns a pool whose statements have a time limit. It has run none yet, so that a busy machine does not
// exceed the limit before the test begins.
func limitedTo(t *testing.T, url, limit string) *pgxpool.Pool {
	t.Helper()
	config := open(t, url).Config()
	parameters := config.ConnConfig.RuntimeParams
	parameters["statement_timeout"], parameters["lock_timeout"] = limit, limit
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// Nor may they cut off a migration that takes long, river's or ours.
func TestMigrateOutlastsTheLimitsOfRequests(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	url := dbtest.NewEmptyURL(t)
	execute(t, open(t, url), `
		CREATE FUNCTION public.linger() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.1); END';
		CREATE EVENT TRIGGER linger ON ddl_command_end
		WHEN TAG IN ('CREATE TYPE', 'CREATE TABLE') EXECUTE FUNCTION public.linger()`)
	_, log := newJournal()
	if err := db.Migrate(t.Context(), limitedTo(t, url, "50ms"), log); err != nil {
		t.Error(err)
	}
}

func TestMigrateStopsWaitingWhenCancelled(t *testing.T) {
	t.Parallel()
	url := dbtest.NewEmptyURL(t)
	acquireLock(t, url)
	lines, log := newJournal()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-lines.first; cancel() }()
	if err := db.Migrate(ctx, open(t, url), log); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// acquireLock takes the migrations' lock in a pool of its own, which gives it back when closed.
func acquireLock(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	pool := open(t, url+"&pool_max_conns=1")
	execute(t, pool, "SELECT pg_advisory_lock(x'636169726e'::bigint)")
	return pool
}

func TestMigrateLeavesANewerDatabaseAlone(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	execute(t, pool, "INSERT INTO cairn.goose_db_version (version_id, is_applied) VALUES (9999, true)")
	lines, log := newJournal()
	if err := db.Migrate(t.Context(), pool, log); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(lines.String(), "newer than this program") {
		t.Errorf("the log does not say that the database is newer: %s", lines)
	}
	if err := db.Ready(t.Context(), pool); err != nil {
		t.Error(err)
	}
}

// The schema may have been made by an administrator, for a user without the right to make one.
func TestMigrateByAUserWhoCannotCreateSchemas(t *testing.T) {
	t.Parallel()
	url := dbtest.NewEmptyURL(t)
	admin := open(t, url)
	var database string
	if err := admin.QueryRow(t.Context(), "SELECT current_database()").Scan(&database); err != nil {
		t.Fatal(err)
	}
	role := strings.Replace(database, "cairn_test", "cairn_role", 1)
	execute(t, admin, "CREATE ROLE "+role+" LOGIN")
	t.Cleanup(func() {
		ctx := context.Background()
		_, _ = admin.Exec(ctx, "DROP SCHEMA cairn CASCADE")
		if _, err := admin.Exec(ctx, "DROP ROLE "+role); err != nil {
			t.Error(err)
		}
	})
	execute(t, admin, "CREATE SCHEMA cairn AUTHORIZATION "+role)
	limited := open(t, url+"&role="+role)
	if err := db.Migrate(t.Context(), limited, quiet()); err != nil {
		t.Error(err)
	}
}

func TestReadySaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		url     func(testing.TB) string
		prepare string
		want    string
	}{
		"no schema":  {dbtest.NewEmptyURL, "SELECT 1", "has no schema"},
		"old schema": {dbtest.NewURL, "DELETE FROM cairn.goose_db_version WHERE version_id > 0", "has version 0"},
		"read-only": {dbtest.NewURL, "DO $$ BEGIN EXECUTE format(" +
			"'ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$", "read-only"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := test.url(t)
			execute(t, open(t, url), test.prepare)
			err := db.Ready(t.Context(), open(t, url))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestReadyWithoutDatabase(t *testing.T) {
	t.Parallel()
	config, err := pgxpool.ParseConfig(at(closedAddress(t), ""))
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	err = db.Ready(t.Context(), pool)
	if err == nil || !strings.Contains(err.Error(), "does not answer: connect: connection refused") {
		t.Fatalf("got %v", err)
	}
	mustNotReveal(t, err.Error())
}
