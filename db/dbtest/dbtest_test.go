package dbtest_test

import (
	"os"
	"testing"

	"cairn/db/dbtest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func count(t *testing.T, pool *pgxpool.Pool, query string, args ...any) (n int) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDatabasesAreMigratedAndPrivate(t *testing.T) {
	t.Parallel()
	one, two := dbtest.New(t), dbtest.New(t)
	if _, err := one.Exec(t.Context(), "INSERT INTO cairn.users (display_name) VALUES ('Ada')"); err != nil {
		t.Fatal(err)
	}
	if n := count(t, two, "SELECT count(*) FROM cairn.users"); n != 0 {
		t.Errorf("a second database has %d users of the first", n)
	}
	if n := two.Config().MaxConns; n != 10 {
		t.Errorf("the pool has up to %d connections", n)
	}
}

func TestEmptyDatabaseHasNoSchema(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), dbtest.NewEmptyURL(t))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if n := count(t, pool, "SELECT count(*) FROM pg_namespace WHERE nspname = 'cairn'"); n != 0 {
		t.Error("an empty database has our schema")
	}
}

// The database goes with the test, even when a connection to it is still open.
func TestDatabaseIsDropped(t *testing.T) {
	t.Parallel()
	var name string
	t.Run("inner", func(t *testing.T) {
		url := dbtest.NewURL(t)
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		name = conn.Config().Database
	})
	server, err := pgxpool.New(t.Context(), os.Getenv("TEST_DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if n := count(t, server, "SELECT count(*) FROM pg_database WHERE datname = $1", name); n != 0 {
		t.Errorf("database %s outlives its test", name)
	}
}
