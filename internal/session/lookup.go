package session

import (
	"context"
	"sync"
	"time"

	"cairn/db"
)

// maxLookups is how many shared queries are under way at once. With one, everybody would wait for a connection that
// hangs; more than two make the batches smaller and the whole slower (make bench).
const maxLookups = 2

// lookups lets requests that look for their session at the same moment share one query. A lone one starts its query
// at once; while maxLookups are under way, those that come gather, and leave together with the next. Nothing is kept:
// a query starts after the lookups that share it, so none sees what was true before it began.
type lookups struct {
	// query returns the sessions that are alive, by token.
	query   func(ctx context.Context, tokens []string) (map[string]*row, error)
	timeout time.Duration // of the query

	mu      sync.Mutex
	running int
	next    *batch // what gathers; nil if nobody waits
}

// batch is lookups that share a query. rows and err are written before done is closed, and not after.
type batch struct {
	tokens []string
	done   chan struct{}
	rows   map[string]*row
	err    error
}

// find returns the row of a token, nil if there is none. Others may get the same row, so it must not be changed. It
// waits no longer than a statement may take, or ctx lasts; but a lookup that is alone and is cancelled sees its query
// through, because breaking it off would cost the connection.
func (l *lookups) find(ctx context.Context, token string) (found *row, err error) {
	b, alone := l.join(token)
	if alone {
		l.answerAlone(ctx, b)
	} else if err := l.wait(ctx, b); err != nil {
		return nil, err
	}
	if b.err != nil {
		return nil, b.err
	}
	return b.rows[token], nil
}

func (l *lookups) wait(ctx context.Context, b *batch) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	select {
	case <-b.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// join puts a token into a batch whose query has not begun. The first of a batch that need not wait is alone in it.
func (l *lookups) join(token string) (b *batch, alone bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next != nil {
		l.next.tokens = append(l.next.tokens, token)
		return l.next, false
	}
	b = &batch{tokens: []string{token}, done: make(chan struct{})}
	if l.running == maxLookups {
		l.next = b
		return b, false
	}
	l.running++
	return b, true
}

// answerAlone runs the query of a caller that shares it with nobody on the caller's own goroutine: handing it over
// takes longer than all else we do for a lone request. What has gathered meanwhile is for another goroutine.
func (l *lookups) answerAlone(ctx context.Context, b *batch) {
	deadline := time.Now().Add(l.timeout)
	if earlier, ok := ctx.Deadline(); ok && earlier.Before(deadline) {
		deadline = earlier
	}
	uncancelled, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	defer l.passOn()
	l.answer(uncancelled, b)
}

func (l *lookups) passOn() {
	if next := l.take(); next != nil {
		go l.run(next)
	}
}

// run answers a batch, and what has gathered meanwhile, until nobody waits.
func (l *lookups) run(b *batch) {
	for b != nil {
		ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
		l.answer(ctx, b)
		cancel()
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

// answer runs the query of a batch. A connection that broke is no reason to fail everybody in it: a read may be
// repeated, once.
func (l *lookups) answer(ctx context.Context, b *batch) {
	defer close(b.done)
	b.rows, b.err = l.query(ctx, b.tokens)
	if b.err != nil && ctx.Err() == nil && db.ConnectionBroke(b.err) {
		b.rows, b.err = l.query(ctx, b.tokens)
	}
}
