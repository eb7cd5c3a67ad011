package testkit

import (
	"context"
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
