package testkit

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Execute runs statements in a database.
func Execute(t *testing.T, address string, statements ...string) {
	t.Helper()
	conn := Connect(t, address)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	for _, statement := range statements {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// Ask returns the only value of a query's only row.
func Ask[T any](t *testing.T, address, query string) (value T) {
	t.Helper()
	conn := Connect(t, address)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	if err := conn.QueryRow(t.Context(), query).Scan(&value); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}

// LongHistory is a statement that gives each user so many records of 4 KiB, so that a download has something to send.
func LongHistory(records int) string {
	return fmt.Sprintf(`
		INSERT INTO cairn.connection_events (user_id, provider, state, cause, reference)
		SELECT u.id, (SELECT min(key) FROM cairn.providers), 'active', 'works',
		       (SELECT string_agg(md5(n::text || m::text), '') FROM generate_series(1, 128) AS m)
		FROM cairn.users u, generate_series(1, %d) AS n`, records)
}

// Lock locks tables in a mode, like ACCESS EXCLUSIVE, until release is called or the test ends.
func Lock(t *testing.T, address, tables, mode string) (release func()) {
	t.Helper()
	conn := Connect(t, address)
	ctx := context.WithoutCancel(t.Context())
	t.Cleanup(func() { _ = conn.Close(ctx) })
	if _, err := conn.Exec(ctx, `BEGIN; LOCK TABLE `+tables+` IN `+mode+` MODE`); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if _, err := conn.Exec(ctx, `COMMIT`); err != nil {
			t.Error(err)
		}
	}
}

// Connect opens a connection, which the caller closes.
func Connect(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}
