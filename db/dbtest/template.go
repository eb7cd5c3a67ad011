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

// template returns the name of a database that has the embedded migrations, making it where it is missing. Being marked
// as a template, the last step, is what makes it complete.
func template(ctx context.Context, server string) (string, error) {
	name, err := templateName()
	if err != nil {
		return "", err
	}
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }() // releases the lock
	if done, err := complete(ctx, conn, name); done || err != nil {
		return name, err
	}
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", templateLock); err != nil {
		return "", err
	}
	if done, err := complete(ctx, conn, name); done || err != nil {
		return name, err
	}
	return name, makeTemplate(ctx, conn, server, name)
}

// templateName changes with the migrations, so that no test runs on yesterday's.
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

func complete(ctx context.Context, conn *pgx.Conn, name string) (done bool, err error) {
	err = conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1 AND datistemplate)", name).Scan(&done)
	return done, err
}

func makeTemplate(ctx context.Context, conn *pgx.Conn, server, name string) error {
	// One that is not complete was left by a process that was killed on the way.
	for _, statement := range []string{
		fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", name),
		fmt.Sprintf("CREATE DATABASE %s TEMPLATE template0", name),
	} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	url, err := withDatabase(server, name)
	if err != nil {
		return err
	}
	if err := migrate(ctx, url); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, fmt.Sprintf("ALTER DATABASE %s WITH IS_TEMPLATE true ALLOW_CONNECTIONS false", name))
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
