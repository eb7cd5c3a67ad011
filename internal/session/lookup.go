package session

import (
	"context"
	"errors"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
)

// maxLookups is how many shared queries are under way at once. With one, everybody would wait for a connection that hangs;
// more than two make the batches smaller and the whole slower (make bench).
const maxLookups = 2

// lookups lets requests that look for their session at the same moment share one query. A lone one starts its query at
// once; while maxLookups are under way, those that come gather, and leave together with the next. Nothing is kept: a query
// starts after the lookups that share it, so none sees what was true before it began.
type lookups struct {
	// query returns the sessions that are alive, by token.
	query func(ctx context.Context, tokens []string) (map[string]row, error)

	mu      sync.Mutex
	running int
	next    *batch // what gathers; nil if nobody waits
}

// batch is lookups that share a query. rows and err are written before done is closed, and not after.
type batch struct {
	tokens []string
	done   chan struct{}
	rows   map[string]row
	err    error
}

// find returns the row of a token, and whether there is one. It waits no longer than ctx lasts; the query goes on for the
// others.
func (l *lookups) find(ctx context.Context, token string) (row, bool, error) {
	b := l.join(token)
	select {
	case <-b.done:
		if b.err != nil {
			return row{}, false, b.err
		}
		found, ok := b.rows[token]
		return found, ok, nil
	case <-ctx.Done():
		return row{}, false, ctx.Err()
	}
}

// join puts a token into a batch whose query has not begun.
func (l *lookups) join(token string) *batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next != nil {
		l.next.tokens = append(l.next.tokens, token)
		return l.next
	}
	b := &batch{tokens: []string{token}, done: make(chan struct{})}
	if l.running == maxLookups {
		l.next = b
		return b
	}
	l.running++
	go l.run(b)
	return b
}

// run answers a batch, and what has gathered meanwhile, until nobody waits.
func (l *lookups) run(b *batch) {
	for b != nil {
		b.rows, b.err = l.ask(b.tokens)
		close(b.done)
		b = l.take()
	}
}

// take returns the batch that has gathered. From here on nobody joins it.
func (l *lookups) take() *batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.next
	l.next = nil
	if b == nil {
		l.running--
	}
	return b
}

// ask runs the query on a context of its own, because those who share it come and go. A connection that broke is no reason
// to fail them all: a read may be repeated, once.
func (l *lookups) ask(tokens []string) (map[string]row, error) {
	ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
	defer cancel()
	rows, err := l.query(ctx, tokens)
	if err != nil && ctx.Err() == nil && connectionBroke(err) {
		rows, err = l.query(ctx, tokens)
	}
	return rows, err
}

// connectionBroke tells a connection that was cut, by the network or by a PostgreSQL that shuts down (57P01, 57P02), from a
// statement that failed and from a server that can't be reached at all.
func connectionBroke(err error) bool {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return false
	}
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return !ok || pg.Code == "57P01" || pg.Code == "57P02"
}
