package session

import (
	"context"
	"sync"
	"time"

	"cairn/db"
)

// maxLookups limits the queries that run at once. With one, all requests would wait for a connection that hangs. With
// more than two, the batches get smaller and the whole gets slower (make bench).
const maxLookups = 2

// lookups lets requests that look for their session at the same time share one query. A lookup starts its query at once
// unless maxLookups queries run. Then it joins the batch that the next query is for. Nothing is cached: a query starts
// after the lookups that share it, so that no lookup gets a state from before it began.
type lookups struct {
	// query returns the live sessions by the hashes of their tokens.
	query   func(ctx context.Context, tokens []string) (map[string]*row, error)
	timeout time.Duration // of the query

	mu      sync.Mutex
	running int
	next    *batch // waits for a query to end; nil if there is none
}

// batch is the lookups that share a query. rows and err are written before done is closed, and not after.
type batch struct {
	tokens []string
	done   chan struct{}
	rows   map[string]*row
	err    error
}

// find returns the row of a token, nil if there is none. Other lookups may get the same row, so it must not be changed.
// It waits for timeout at most, and until ctx ends; but a lookup that runs its own query completes it even when ctx is
// cancelled, because to break it off would cost the connection.
func (l *lookups) find(ctx context.Context, token string) (found *row, err error) {
	b, alone := l.join(token)
	if alone {
		l.runAlone(ctx, b)
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

// join puts a token into a batch whose query has not begun. If the query can begin at once, the token is alone in it.
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

// runAlone runs the query of a single lookup on its own goroutine: to hand it over would take longer than the rest of a
// lone request. Another goroutine runs the batch that has formed meanwhile.
func (l *lookups) runAlone(ctx context.Context, b *batch) {
	deadline := time.Now().Add(l.timeout)
	if earlier, ok := ctx.Deadline(); ok && earlier.Before(deadline) {
		deadline = earlier
	}
	uncancelled, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	defer func() {
		if next := l.takeNext(); next != nil {
			go l.runAll(next)
		}
	}()
	l.run(uncancelled, b)
}

// runAll runs the query of a batch, and of those that form meanwhile, until none is left.
func (l *lookups) runAll(b *batch) {
	for b != nil {
		ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
		l.run(ctx, b)
		cancel()
		b = l.takeNext()
	}
}

// takeNext closes the batch that waits to further lookups, and returns it.
func (l *lookups) takeNext() *batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.next
	l.next = nil
	if b == nil {
		l.running--
	}
	return b
}

// run runs the query of a batch. If the connection breaks, it is repeated once, because it only reads.
func (l *lookups) run(ctx context.Context, b *batch) {
	defer close(b.done)
	b.rows, b.err = l.query(ctx, b.tokens)
	if b.err != nil && ctx.Err() == nil && db.ConnectionBroke(b.err) {
		b.rows, b.err = l.query(ctx, b.tokens)
	}
}
