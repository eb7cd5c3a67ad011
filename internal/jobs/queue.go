package jobs

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
)

// Options are what a queue needs.
type Options struct {
	Pool   *pgxpool.Pool
	Log    *slog.Logger
	Limits Limits
	// Queues are those of the providers, whether we are registered there now or not.
	Queues []string
	// Serial are further queues. An instance works on one job of each at a time.
	Serial []string
	// Listen is how to connect to a server for LISTEN; nil: that is impossible, because a connection pooler
	// is in front of it.
	Listen *pgx.ConnConfig
}

// Queue enqueues jobs, for the workers of all instances. Make it with NewQueue.
type Queue struct {
	Options
	client *river.Client[pgx.Tx] // it only enqueues
	clock  *clock
	waker  *waker
}

// NewQueue returns the queue of a database, which it asks for the time.
func NewQueue(ctx context.Context, o Options) (*Queue, error) { return newQueue(ctx, o, time.Now) }

func newQueue(ctx context.Context, o Options, host func() time.Time) (*Queue, error) {
	o.Limits = o.Limits.withDefaults()
	clock, err := newClock(ctx, host, o.Pool)
	if err != nil {
		return nil, err
	}
	q := &Queue{Options: o, clock: clock, waker: newWaker(o, clock)}
	if q.client, err = q.newClient(q.config()); err != nil {
		return nil, err
	}
	return q, nil
}

// config is what clients that enqueue and clients that work have in common.
func (q *Queue) config() river.Config {
	return river.Config{
		Schema:     Schema,
		Logger:     slog.New(newWarnings(q.Log.Handler())),
		Middleware: []rivertype.Middleware{river.JobInsertMiddlewareFunc(q.waker.inserted)},
		// River has this for tests, but it does what we need: there is one clock, the database's.
		Test: river.TestConfig{Time: q.clock},
	}
}

func (q *Queue) newClient(config river.Config) (*river.Client[pgx.Tx], error) {
	client, err := river.NewClient(driver{riverpgxv5.New(q.Pool), q.waker}, &config)
	if err != nil {
		return nil, fmt.Errorf("jobs: %w", err)
	}
	return client, nil
}

// Now is the database's time, as closely as it is known.
func (q *Queue) Now() time.Time { return q.clock.Now() }

// InsertTx enqueues a job in the transaction that makes it necessary.
func (q *Queue) InsertTx(
	ctx context.Context, tx pgx.Tx, args river.JobArgs, opts *river.InsertOpts,
) (*rivertype.JobInsertResult, error) {
	inserted, err := q.client.InsertTx(ctx, tx, args, opts)
	if err != nil {
		return nil, fmt.Errorf("jobs: enqueue a %s: %w", args.Kind(), err)
	}
	return inserted, nil
}

// InsertManyTx is InsertTx for several jobs, in one statement.
func (q *Queue) InsertManyTx(
	ctx context.Context, tx pgx.Tx, params []river.InsertManyParams,
) ([]*rivertype.JobInsertResult, error) {
	inserted, err := q.client.InsertManyTx(ctx, tx, params)
	if err != nil {
		return nil, fmt.Errorf("jobs: enqueue several: %w", err)
	}
	return inserted, nil
}

// RetryTx makes a job that was put off start now.
func (q *Queue) RetryTx(ctx context.Context, tx pgx.Tx, id int64) error {
	if _, err := q.client.JobRetryTx(ctx, tx, id); err != nil {
		return fmt.Errorf("jobs: start job %d now: %w", id, err)
	}
	q.waker.pollOften()
	return nil
}
