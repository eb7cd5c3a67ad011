// Package jobs does background work with river, in PostgreSQL: a job is enqueued in the transaction that makes it
// necessary, and tried again until it is done, by any instance that has time.
//
//	queue.go      enqueueing jobs
//	jobs.go       the workers of all features: start, stop, count
//	scheduler.go  enqueueing, every hour, what features list
//	backoff.go    the retry policy for a provider that wants no calls now
//	wake.go       noticing that there is a job
//	clock.go      the database's time
//	log.go        what river and failed jobs log
//	limits.go     time limits and their defaults
//
// The features say what jobs do: connection/jobs.go, activity/sync.go.
//
// Each provider has a queue of its own, so that one that does not answer holds up no other work. Jobs leave a part of
// every quota to people (oauth.InBackground), unless a person waits for the job.
//
// A job may run twice, on two instances, or be killed half-way, and has to be safe for that. Its arguments are ids: no
// token and no name is in river's tables.
package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
)

// Schema is where river's tables are; db.Migrate makes them.
const Schema = "cairn"

const (
	maxWorkers = 4 // of a queue, on each instance
	// keepDone and keepFailed are how long ended jobs are kept. It is short because jobs name accounts at providers,
	// whose owners may have left since.
	keepDone   = time.Minute
	keepFailed = 24 * time.Hour // an operator wants to see them
	// fetchAnyway is how often a queue asks without being woken, to be safe.
	fetchAnyway = 5 * time.Minute
)

// Feature is a feature that has background jobs.
type Feature interface {
	// Register adds the workers of its jobs.
	Register(workers *river.Workers)
	// Reconcile lists a bounded number of jobs that are missing: those to start now, and those to spread over the time
	// until the next Reconcile. It may list jobs that exist already.
	Reconcile(ctx context.Context) (now, later []river.JobArgs, err error)
}

// Jobs is the background work of one instance. Make it with New.
type Jobs struct {
	client *river.Client[pgx.Tx]
	queue  *Queue
}

// New returns the work of the features, which begins with Run.
func New(q *Queue, features ...Feature) (*Jobs, error) {
	config := q.config()
	config.Workers = river.NewWorkers()
	river.AddWorker(config.Workers, &scheduler{queue: q, features: features})
	for _, f := range features {
		f.Register(config.Workers)
	}
	config.Queues = q.queues()
	config.ErrorHandler = failures{q.Log}
	config.Middleware = append(config.Middleware, river.WorkerMiddlewareFunc(q.backingOff))
	config.FetchPollInterval = fetchAnyway
	config.JobTimeout, config.RescueStuckJobsAfter = q.Limits.Job, q.Limits.Rescue
	config.CompletedJobRetentionPeriod, config.CancelledJobRetentionPeriod = keepDone, keepDone
	config.DiscardedJobRetentionPeriod = keepFailed
	config.PeriodicJobs = []*river.PeriodicJob{river.NewPeriodicJob(river.PeriodicInterval(q.Limits.Reconcile),
		func() (river.JobArgs, *river.InsertOpts) { return reconcile{}, nil },
		&river.PeriodicJobOpts{RunOnStart: true})}
	client, err := q.newClient(config)
	if err != nil {
		return nil, err
	}
	return &Jobs{client, q}, nil
}

// queues are those of Options, and one for jobs that ask no provider.
func (o Options) queues() map[string]river.QueueConfig {
	all := map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: maxWorkers}}
	for _, name := range o.Queues {
		all[name] = river.QueueConfig{MaxWorkers: maxWorkers}
	}
	for _, name := range o.Serial {
		all[name] = river.QueueConfig{MaxWorkers: 1}
	}
	return all
}

// Run works until ctx is done, and then lets the jobs under way finish. Other instances repeat those that don't.
func (j *Jobs) Run(ctx context.Context) error {
	if !j.awaitDatabase(ctx) {
		return nil
	}
	waking, rest := context.WithCancel(context.WithoutCancel(ctx))
	woken := make(chan struct{})
	go func() { defer close(woken); j.queue.waker.run(waking) }()
	defer func() { rest(); <-woken }()
	if err := j.client.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("jobs: start: %w", err)
	}
	<-ctx.Done()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), j.queue.Limits.Stop)
	defer cancel()
	if j.client.Stop(stop) == nil {
		return nil
	}
	cancelled, cancel := context.WithTimeout(context.WithoutCancel(ctx), j.queue.Limits.Stop)
	defer cancel()
	if err := j.client.StopAndCancel(cancelled); err != nil {
		return fmt.Errorf("jobs: stop: %w", err)
	}
	return nil
}

// awaitDatabase waits until the database takes jobs, and enqueues the first reconcile. Meanwhile the server does what
// it can with a database that is read-only or away. It returns false when ctx is done.
func (j *Jobs) awaitDatabase(ctx context.Context) bool {
	for logged := false; ; logged = true {
		first := j.queue.Now().Add(j.queue.Limits.FirstReconcile)
		_, err := j.client.Insert(ctx, reconcile{}, &river.InsertOpts{ScheduledAt: first})
		if err == nil {
			return true
		}
		if !logged && ctx.Err() == nil {
			j.queue.Log.WarnContext(ctx, "background work waits for the database", "error", err)
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(j.queue.Limits.Begin):
		}
	}
}

// Tally is how many jobs of a kind are in a state of river's: available, running, retryable, scheduled, completed,
// cancelled, discarded. Oldest is when the first of them was enqueued.
type Tally struct {
	Kind, State string
	N           int
	Oldest      time.Time
}

// Count counts the jobs of all instances. It is for operators.
func Count(ctx context.Context, pool *pgxpool.Pool) ([]Tally, error) {
	rows, err := pool.Query(ctx, `
		SELECT kind, state::text, count(*)::int, min(created_at) FROM cairn.river_job
		GROUP BY kind, state ORDER BY kind, state`)
	if err != nil {
		return nil, fmt.Errorf("jobs: count: %w", err)
	}
	tallies, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Tally])
	if err != nil {
		return nil, fmt.Errorf("jobs: count: %w", err)
	}
	return tallies, nil
}

// Wait is how long the oldest job of a kind has been due without being done.
type Wait struct {
	Kind, Queue string
	For         time.Duration
}

// Waits returns the kinds of jobs that are due, of all instances. A job that waits to be tried again is not due. It is
// for operators.
func Waits(ctx context.Context, pool *pgxpool.Pool) ([]Wait, error) {
	rows, err := pool.Query(ctx, `
		SELECT kind, queue, now() - min(scheduled_at) FROM cairn.river_job
		WHERE state IN ('available', 'retryable', 'running') AND scheduled_at <= now()
		GROUP BY kind, queue ORDER BY kind, queue`)
	if err != nil {
		return nil, fmt.Errorf("jobs: read waits: %w", err)
	}
	waits, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Wait])
	if err != nil {
		return nil, fmt.Errorf("jobs: read waits: %w", err)
	}
	return waits, nil
}
