package dbtest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"log/slog"

	"cairn/db"

	"github.com/jackc/pgx/v5"
)

// templateLock is the advisory lock under which template databases are made.
const templateLock = 0x636169726e74 // "cairnt"

// templateName changes with the migrations, so that no test runs on an old schema.
func templateName() (string, error) {
	hash := sha256.New()
	migrations := db.Migrations()
	names, err := fs.Glob(migrations, "*.sql")
	if err != nil {
		return "", err
	}
	for _, name := range names {
		content, err := fs.ReadFile(migrations, name)
		if err != nil {
			return "", err
		}
		_, _ = fmt.Fprintf(hash, "%s %d %s", name, len(content), content)
	}
	return fmt.Sprintf("cairn_template_%.10x", hash.Sum(nil)), nil
}

// makeTemplate makes the template database. It gets its name in the last step: one with that name is complete.
func makeTemplate(ctx context.Context, conn *pgx.Conn, name string) error {
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", templateLock); err != nil {
		return err
	}
	defer func() { _, _ = conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", templateLock) }()
	var done bool
	err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&done)
	if done || err != nil {
		return err
	}
	unfinished := name + "_new"
	// If it exists, a process was killed while it made it.
	for _, statement := range []string{
		fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", unfinished),
		fmt.Sprintf("CREATE DATABASE %s TEMPLATE template0", unfinished),
	} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	url, err := withDatabase(conn.Config().ConnString(), unfinished)
	if err != nil {
		return err
	}
	if err := migrate(ctx, url); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, fmt.Sprintf("ALTER DATABASE %s RENAME TO %s", unfinished, name))
	return err
}

func migrate(ctx context.Context, url string) error {
	quiet := slog.New(slog.DiscardHandler)
	pool, err := db.Open(ctx, url, quiet)
	if err != nil {
		return err
	}
	defer pool.Close()
	return db.Migrate(ctx, pool, quiet)
}
