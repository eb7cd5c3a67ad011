package db

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Pooled reports whether a pool from Open connects through a connection pooler such as PgBouncer. Then nothing depends
// on a session, in any mode of the pooler: no prepared statement, no setting, no lock, no LISTEN.
func Pooled(pool *pgxpool.Pool) bool {
	_, limited := pool.Config().ConnConfig.Tracer.(*limits)
	return limited
}

// Direct returns how to connect to a server with a session, for LISTEN: at url if it is set, else as pool does. It is
// nil if that goes through a connection pooler.
func Direct(pool *pgxpool.Pool, url string) (*pgx.ConnConfig, error) {
	if url != "" {
		config, err := parse(url)
		if err != nil {
			return nil, err
		}
		return config.ConnConfig, nil
	}
	if Pooled(pool) {
		return nil, nil
	}
	return pool.Config().ConnConfig, nil
}

// Same reports whether two pools connect to the same database of the same running server.
func Same(ctx context.Context, one, other *pgxpool.Pool) (bool, error) {
	var found [2]string
	for i, pool := range []*pgxpool.Pool{one, other} {
		err := pool.QueryRow(ctx, `
			SELECT oid::text || ' ' || extract(epoch FROM pg_postmaster_start_time())::text
			FROM pg_database WHERE datname = current_database()`).Scan(&found[i])
		if err != nil {
			return false, fmt.Errorf("db: compare databases: %w", redacted(err))
		}
	}
	return found[0] == found[1], nil
}

// detect connects once and returns the configuration for a server or a pooler.
//
// There is a pooler if it refuses parameters of a session, as PgBouncer does unless it ignores them, or if PostgreSQL's
// process is not the one that the connection began with.
func detect(ctx context.Context, config *pgxpool.Config) (*pgxpool.Config, error) {
	same, err := keepsSession(ctx, config.ConnConfig)
	parameter := refusedParameter(err)
	if parameter != "" && !optional(parameter) {
		return nil, err
	}
	switch {
	case same:
		config = config.Copy()
		config.AfterConnect = mustKeepSession
		return config, nil
	case parameter == "" && err != nil:
		return nil, err
	}
	return withoutSession(ctx, config)
}

// keepsSession reports whether the connection leads to one PostgreSQL process.
func keepsSession(ctx context.Context, config *pgx.ConnConfig) (bool, error) {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return false, err
	}
	defer closeConn(ctx, conn)
	var pid uint32
	err = conn.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeExec).Scan(&pid)
	return err == nil && pid == conn.PgConn().PID(), err
}

var errPoolerAppeared = errors.New("db: a connection pooler stands before the database now, " +
	"and did not at the start: restart this server")

// mustKeepSession refuses a new connection through a pooler if the pool was opened without one.
func mustKeepSession(ctx context.Context, conn *pgx.Conn) error {
	var pid uint32
	err := conn.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeExec).Scan(&pid)
	if err == nil && pid != conn.PgConn().PID() {
		return errPoolerAppeared
	}
	return err
}

// withoutSession returns the configuration for a connection through a pooler, after a try.
func withoutSession(ctx context.Context, config *pgxpool.Config) (*pgxpool.Config, error) {
	config = config.Copy()
	parameters := config.ConnConfig.RuntimeParams
	set := func(name string) string { return cmp.Or(parameters[name], defaults()[name]) }
	limit := &limits{
		statement: set("statement_timeout"),
		lock:      set("lock_timeout"),
		idle:      set("idle_in_transaction_session_timeout"),
	}
	for name := range defaults() {
		if !trackedByPoolers[name] {
			delete(parameters, name)
		}
	}
	config.ConnConfig.Tracer = limit
	// Statements are described once and sent in full each time. That is one round trip, and does not depend on earlier
	// statements of the connection.
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return nil, err
	}
	defer closeConn(ctx, conn)
	limit.deadline, err = statementTimeout(ctx, conn)
	return config, err
}

// trackedByPoolers are parameters that a pooler sets for each of its clients.
var trackedByPoolers = map[string]bool{"application_name": true, "timezone": true}

// errStatementMode is permanent.
var errStatementMode = errors.New("the connection pooler allows no transactions: " +
	"its pool_mode has to be transaction or session")

// statementTimeout returns the limit of a statement as PostgreSQL reads it in a transaction.
func statementTimeout(ctx context.Context, conn *pgx.Conn) (limit time.Duration, err error) {
	tx, err := conn.Begin(ctx)
	if stateOf(err) == protocolViolation {
		return 0, errStatementMode
	}
	if err != nil {
		return 0, err
	}
	defer rollBack(ctx, tx)
	var milliseconds int64
	err = tx.QueryRow(ctx, `
		SELECT setting::bigint FROM pg_settings WHERE name = 'statement_timeout'`).Scan(&milliseconds)
	return time.Duration(milliseconds) * time.Millisecond, err
}

var unsupported = regexp.MustCompile(`^unsupported startup parameter[a-z ]*: ([A-Za-z_.]+)`)

// refusedParameter returns the session setting that a pooler refuses, "" if the error is another one.
func refusedParameter(err error) string {
	refusal, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || refusal.Code != protocolViolation {
		return ""
	}
	if found := unsupported.FindStringSubmatch(refusal.Message); found != nil {
		return found[1]
	}
	return ""
}

// optional reports whether a parameter is one of defaults, which a pooler may drop.
func optional(parameter string) bool {
	_, known := defaults()[parameter]
	return known
}

// closeConn closes conn even when ctx has ended.
func closeConn(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
	defer cancel()
	_ = conn.Close(ctx)
}

// mode finds out a pooler's mode. In transaction mode, the connection of an idle client is lent to others. Under load
// that may stay undetected, and the result is "session". So it may be shown, but nothing may depend on it.
func mode(ctx context.Context, pool *pgxpool.Pool) (string, error) {
	idle, err := pool.Acquire(ctx)
	if err != nil {
		return "", err
	}
	defer idle.Release()
	other, err := pool.Acquire(ctx)
	if err != nil {
		return "", err
	}
	defer other.Release()
	for range 3 {
		alone, err := backend(ctx, idle)
		if err != nil {
			return "", err
		}
		tx, err := other.Begin(ctx)
		if err != nil {
			return "", err
		}
		beside, err := backend(ctx, tx)
		again, err2 := backend(ctx, idle)
		rollBack(ctx, tx)
		switch {
		case errors.Join(err, err2) != nil:
			return "", errors.Join(err, err2)
		case beside == alone || again != alone:
			return "transaction", nil
		}
	}
	return "session", nil
}

func backend(ctx context.Context, on interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}) (pid int, err error) {
	err = on.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid)
	return pid, err
}
