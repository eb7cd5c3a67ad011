// Package db opens the database and brings its schema up to date.
//
//	db.go       Open: a pool with safe defaults; it waits for a database that is not available yet
//	pooler.go   connection poolers: how one is detected, and what is different then
//	limits.go   the time limits of statements behind a connection pooler
//	idle.go     whether an idle connection is still good; idle_*.go ask the operating system
//	lock.go     a lock that one process holds at a time
//	sqlstate.go what kind of error a statement failed with
//	failure.go  why there is no connection, in words without credentials
//	migrate.go  Migrate and Ready: the embedded migrations and whether the database has them
//	batch.go    how many rows a sweep deletes at once
//	schema.go   which schema version this program needs, and whether the database has it
//	inspect.go  a report about a database, for server doctor
//	migrations  numbered SQL files, never edited after a release
//
// Package embedded runs a private PostgreSQL for development. Package dbtest gives each test a database of its own.
package db

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	waitLimit      = time.Minute     // for a database that does not answer yet
	connectTimeout = 3 * time.Second // for one attempt at one host, unless the URL has a connect_timeout
	firstPause     = 100 * time.Millisecond
	longestPause   = 5 * time.Second
	pingAfter      = time.Second // of idleness, before a connection is used again
)

// defaults are session settings that a URL may override. Most limit how long a statement, a lock and a forgotten
// transaction can hold up others.
func defaults() map[string]string {
	return map[string]string{
		"application_name":                    "cairn",
		"search_path":                         "cairn",
		"timezone":                            "UTC",
		"statement_timeout":                   "10s",
		"lock_timeout":                        "5s",
		"idle_in_transaction_session_timeout": "30s",
		// All our statements find rows by key, so one plan fits every value. By default PostgreSQL plans statements
		// with arrays each time, which takes longer than running them.
		"plan_cache_mode": "force_generic_plan",
	}
}

// Open connects to the database at url, postgres://user:password@host:port/name?sslmode=…. It waits up to a minute,
// or until ctx ends, for a database that is down, unreachable, starting up or out of connections. It returns at once if
// waiting cannot help: malformed URL, refused credentials, no such database, untrusted certificate. Its errors and log
// lines contain no credentials. When a server turns out to be read-only, because another one has taken over, the pool
// closes all its connections.
//
// Behind a connection pooler (Pooled), nothing depends on a session.
func Open(ctx context.Context, url string, log *slog.Logger) (*pgxpool.Pool, error) {
	config, err := parse(url)
	if err != nil {
		return nil, err
	}
	log = log.With("database", address(config))
	pool, err := open(ctx, config, log)
	if err != nil {
		return nil, fmt.Errorf("db: connect to %s: %w", address(config), err)
	}
	return pool, nil
}

func open(ctx context.Context, given *pgxpool.Config, log *slog.Logger) (pool *pgxpool.Pool, err error) {
	var config *pgxpool.Config
	err = retry(ctx, log, func(ctx context.Context) (err error) {
		config, err = detect(ctx, given)
		return err
	})
	if err != nil {
		return nil, err
	}
	refused := config.ConnConfig.OnPgError
	config.ConnConfig.OnPgError = func(conn *pgconn.PgConn, err *pgconn.PgError) bool {
		if err.Code == readOnlyTransaction { // only a statement gets that, so there is a pool
			pool.Reset()
		}
		return refused(conn, err)
	}
	config.ConnConfig.OnNotice = func(_ *pgconn.PgConn, notice *pgconn.Notice) {
		if notice.SeverityUnlocalized == "WARNING" {
			log.Warn("the database warns", "warning", notice.Message)
		}
	}
	pool, err = pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, errors.New(explain(err).text)
	}
	if err := retry(ctx, log, pool.Ping); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

func parse(url string) (*pgxpool.Config, error) {
	if url == "" {
		return nil, errors.New("db: the database URL is empty")
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errors.New("db: " + explainURL(err))
	}
	connection := config.ConnConfig
	if connection.ConnectTimeout == 0 {
		connection.ConnectTimeout = connectTimeout
	}
	for name, value := range defaults() {
		// What comes with "options" would lose against a parameter of the same name.
		if strings.Contains(connection.RuntimeParams["options"], name) {
			continue
		}
		if _, set := connection.RuntimeParams[name]; !set {
			connection.RuntimeParams[name] = value
		}
	}
	config.ShouldPing = func(ctx context.Context, p pgxpool.ShouldPingParams) bool {
		doubtful := p.IdleDuration > pingAfter || readable(p.Conn.PgConn().Conn())
		return doubtful && !answers(ctx, p.Conn.PgConn())
	}
	return config, nil
}

// retry tries to connect until it succeeds, until the failure is permanent, or for waitLimit.
func retry(ctx context.Context, log *slog.Logger, connect func(context.Context) error) error {
	began, reason := time.Now(), "no answer yet"
	limited, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := connect(limited)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: given up after %v: %w",
				reason, time.Since(began).Round(time.Millisecond), context.Cause(ctx))
		}
		if limited.Err() != nil {
			return fmt.Errorf("%s: given up after %v", reason, waitLimit)
		}
		failure := explain(err)
		if failure.permanent {
			return errors.New(failure.text)
		}
		reason = failure.text
		log.WarnContext(ctx, "the database is not available yet, trying again", "reason", reason, "retry_in", pause)
		select {
		case <-limited.Done():
		case <-time.After(pause/2 + rand.N(pause/2)): // so that instances do not try in step
		}
	}
}

// address returns the hosts and ports of a database, the only part of its URL that may be shown.
func address(config *pgxpool.Config) string {
	first := config.ConnConfig
	hosts := map[string]bool{fmt.Sprintf("%s:%d", first.Host, first.Port): true}
	for _, next := range first.Fallbacks {
		hosts[fmt.Sprintf("%s:%d", next.Host, next.Port)] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(hosts)), ",")
}
