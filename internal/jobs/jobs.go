// Package jobs does what nobody should wait for, with river, in PostgreSQL: a job is enqueued in the transaction
// that makes it necessary, and tried again until it is done, by whichever instance has time.
//
//	queue.go     enqueueing jobs
//	jobs.go      the workers: start, stop, count
//	wake.go      noticing that there is a job
//	clock.go     the database's time
//	revoke.go    having providers revoke tokens
//	keepalive.go refreshing tokens that would lapse unused
//	sync.go      checking a connection that may have changed, and fetching its newest entries
//	request.go   requests for a sync, one row each
//	picture.go   fetching the pictures of connected accounts
//	log.go       what an operator reads of it
//	look.go      finding work of these kinds that has no job
//	patience.go  waiting for a provider that wants no calls now
//	limits.go    time limits and their defaults
//
// Each provider has a queue of its own, so that one that does not answer holds up nobody else's work. Jobs leave a
// part of every quota to people (oauth.InBackground), unless a person waits for it.
//
// Every job may run twice, on two instances, or be killed half-way; what it does is safe for that. Its arguments are
// ids: no token and no name is in river's tables.
package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"cairn/internal/activity"
	"cairn/internal/avatar"
	"cairn/internal/connection"
	"cairn/internal/oauth"
)

// Schema is where river's tables are; db.Migrate makes them.
const Schema = "cairn"

const (
	maxWorkers = 4 // of a queue, on each instance
	// keepDone and keepFailed are how long jobs stay that have ended: they name accounts at providers, whose owners may
	// be gone.
	keepDone   = time.Minute
	keepFailed = 24 * time.Hour // an operator wants to see them
	// fetchAnyway is when a queue asks without being woken, which it need not.
	fetchAnyway = 5 * time.Minute
)

// Deps are the parts that the jobs put to work.
type Deps struct {
	*Queue
	Connections *connection.Store
	Activity    *activity.Store
	Providers   oauth.Registry
	Pictures    *avatar.Fetcher
}

// Jobs is the background work of one instance. Make it with New.
type Jobs struct {
	client *river.Client[pgx.Tx]
	deps   Deps
}

// New returns the work, which begins with Run.
func New(d Deps) (*Jobs, error) {
	config := d.config()
	config.Workers = river.NewWorkers()
	river.AddWorker(config.Workers, &revoker{Deps: d})
	river.AddWorker(config.Workers, &keeper{Deps: d})
	river.AddWorker(config.Workers, &syncer{Deps: d})
	river.AddWorker(config.Workers, &looker{Deps: d})
	river.AddWorker(config.Workers, &picturer{Deps: d})
	config.Queues = d.queues()
	config.ErrorHandler = failures{d.Log}
	config.Middleware = append(config.Middleware, river.WorkerMiddlewareFunc(d.clock.snoozing))
	config.FetchPollInterval = fetchAnyway
	config.JobTimeout, config.RescueStuckJobsAfter = d.Limits.Job, d.Limits.Rescue
	config.CompletedJobRetentionPeriod, config.CancelledJobRetentionPeriod = keepDone, keepDone
	config.DiscardedJobRetentionPeriod = keepFailed
	config.PeriodicJobs = []*river.PeriodicJob{river.NewPeriodicJob(river.PeriodicInterval(d.Limits.Look),
		func() (river.JobArgs, *river.InsertOpts) { return look{}, nil }, &river.PeriodicJobOpts{RunOnStart: true})}
	client, err := d.newClient(config)
	if err != nil {
		return nil, err
	}
	return &Jobs{client, d}, nil
}

// queues are one for each provider, one for pictures, and one for what asks none.
func (o Options) queues() map[string]river.QueueConfig {
	all := map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: maxWorkers}, pictureQueue: {MaxWorkers: 1}}
	for _, provider := range o.Queues {
		all[provider] = river.QueueConfig{MaxWorkers: maxWorkers}
	}
	return all
}

// Run works until ctx is done, and then lets the jobs under way finish. Those that do not are tried again by others.
func (j *Jobs) Run(ctx context.Context) error {
	if !j.mayBegin(ctx) {
		return nil
	}
	waking, rest := context.WithCancel(context.WithoutCancel(ctx))
	woken := make(chan struct{})
	go func() { defer close(woken); j.deps.waker.run(waking) }()
	defer func() { rest(); <-woken }()
	if err := j.client.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("jobs: start: %w", err)
	}
	<-ctx.Done()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), j.deps.Limits.Stop)
	defer cancel()
	if j.client.Stop(stop) == nil {
		return nil
	}
	cancelled, cancel := context.WithTimeout(context.WithoutCancel(ctx), j.deps.Limits.Stop)
	defer cancel()
	if err := j.client.StopAndCancel(cancelled); err != nil {
		return fmt.Errorf("jobs: stop: %w", err)
	}
	return nil
}

// mayBegin waits until the database takes jobs, and enqueues the first look. A server whose database is read-only,
// or away for the moment, serves meanwhile what it can. It is false when ctx is done.
func (j *Jobs) mayBegin(ctx context.Context) bool {
	for told := false; ; told = true {
		first := j.deps.clock.Now().Add(j.deps.Limits.FirstLook)
		_, err := j.client.Insert(ctx, look{}, &river.InsertOpts{ScheduledAt: first})
		if err == nil {
			return true
		}
		if !told && ctx.Err() == nil {
			j.deps.Log.WarnContext(ctx, "background work waits for the database", "error", err)
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(j.deps.Limits.Begin):
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

// Count counts the jobs of all instances. It is the operator's.
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

// Wait is for how long the oldest job of a kind has been due and is not done.
type Wait struct {
	Kind, Queue string
	For         time.Duration
}

// Waits returns the kinds that have such jobs, of all instances. A job that is to be tried again later is not due. It
// is the operator's.
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
