package db

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// limits sets the time limits of statements behind a connection pooler, where each transaction may have another
// session. It is a pgx tracer: it gives each statement a deadline on our side, after which pgx cancels it in
// PostgreSQL, and begins each transaction with its limits, so that PostgreSQL ends one whose process has vanished.
type limits struct {
	statement, lock, idle string        // as PostgreSQL writes durations; "0": none
	deadline              time.Duration // statement's, as PostgreSQL reads it; 0: none
}

type cancelKey struct{}

type statementTimeKey struct{}

// WithStatementTime returns a context whose statements may take longer than others on our side. The limit of
// PostgreSQL is set in the transaction (statement_timeout).
func WithStatementTime(ctx context.Context, limit time.Duration) context.Context {
	return context.WithValue(ctx, statementTimeKey{}, limit)
}

func (l *limits) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return l.begin(ctx)
}

func (l *limits) TraceQueryEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryEndData) {
	if data.Err == nil && data.CommandTag.String() == "BEGIN" {
		// An error here fails the transaction, and so its next statement.
		_ = conn.PgConn().ExecParams(ctx, `
			SELECT set_config('statement_timeout', $1, true), set_config('lock_timeout', $2, true),
			       set_config('idle_in_transaction_session_timeout', $3, true)`,
			[][]byte{[]byte(l.statement), []byte(l.lock), []byte(l.idle)}, nil, nil, nil).Read()
	}
	l.end(ctx)
}

func (l *limits) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return l.begin(ctx)
}

func (l *limits) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

func (l *limits) TraceBatchEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchEndData) { l.end(ctx) }

func (l *limits) begin(ctx context.Context) context.Context {
	if l.deadline == 0 {
		return ctx
	}
	longer, _ := ctx.Value(statementTimeKey{}).(time.Duration)
	ctx, cancel := context.WithTimeout(ctx, max(l.deadline, longer))
	return context.WithValue(ctx, cancelKey{}, cancel)
}

func (l *limits) end(ctx context.Context) {
	if cancel, limited := ctx.Value(cancelKey{}).(context.CancelFunc); limited {
		cancel()
	}
}
