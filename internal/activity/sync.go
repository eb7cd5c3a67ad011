package activity

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"cairn/internal/connection"
	"cairn/internal/oauth"
)

// syncJob carries out the sync requests of a connection. A request does not prove that something has changed, so only
// the provider's answer counts.
type syncJob struct {
	Provider string `json:"provider" river:"unique"`
	Subject  string `json:"subject" river:"unique"`
	// Late is when to check the connection, even without a request, in Unix milliseconds. Such a job is no
	// duplicate of one at another time. 0: the job is due now, and does only what is requested.
	Late int64 `json:"late,omitempty" river:"unique"`
}

// Kind is the stored word for a sync job.
func (syncJob) Kind() string { return "revisit" }

// InsertOpts let one job carry out all requests of a connection.
func (j syncJob) InsertOpts() river.InsertOpts {
	return river.InsertOpts{
		Queue:       j.Provider,
		MaxAttempts: 8,
		UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
			rivertype.JobStateAvailable,
			rivertype.JobStatePending,
			rivertype.JobStateRetryable,
			rivertype.JobStateRunning,
			rivertype.JobStateScheduled,
		}},
	}
}

// Queue is where jobs are enqueued: a jobs.Queue.
type Queue interface {
	// Now is the database's time.
	Now() time.Time
	// InsertTx and InsertManyTx enqueue jobs in the transaction that makes them necessary.
	InsertTx(
		ctx context.Context, tx pgx.Tx, args river.JobArgs, opts *river.InsertOpts,
	) (*rivertype.JobInsertResult, error)
	InsertManyTx(
		ctx context.Context, tx pgx.Tx, params []river.InsertManyParams,
	) ([]*rivertype.JobInsertResult, error)
	// RetryTx makes a job that was put off start now.
	RetryTx(ctx context.Context, tx pgx.Tx, id int64) error
}

// SyncQueue enqueues syncs. It is apart from Store because a connection.Store, which a Store needs, enqueues syncs too.
// Make it with NewSyncQueue.
type SyncQueue struct {
	pool  *pgxpool.Pool
	queue Queue
}

// NewSyncQueue returns the queue of syncs in a database.
func NewSyncQueue(pool *pgxpool.Pool, queue Queue) *SyncQueue { return &SyncQueue{pool, queue} }

// EnqueueSync requests a sync of the connections to these subjects. It leaves out subjects that are not connected.
func (q *SyncQueue) EnqueueSync(ctx context.Context, provider string, subjects []string, what Sync) error {
	return pgx.BeginFunc(ctx, q.pool, func(tx pgx.Tx) error {
		_, err := q.enqueue(ctx, tx, provider, subjects, what)
		return err
	})
}

// EnqueueSyncNow is EnqueueSync for a person who waits: a job that was put off starts now.
func (q *SyncQueue) EnqueueSyncNow(ctx context.Context, provider, subject string, what Sync) error {
	return pgx.BeginFunc(ctx, q.pool, func(tx pgx.Tx) error {
		inserted, err := q.enqueue(ctx, tx, provider, []string{subject}, what)
		if err == nil {
			err = markAwaited(ctx, tx, provider, subject, what)
		}
		for _, job := range inserted {
			if err == nil && job.UniqueSkippedAsDuplicate {
				err = q.queue.RetryTx(ctx, tx, job.Job.ID)
			}
		}
		return err
	})
}

// EnqueueFetch enqueues a fetch of the newest entries of an account that is connected in tx.
func (q *SyncQueue) EnqueueFetch(ctx context.Context, tx pgx.Tx, provider, subject string) error {
	_, err := q.enqueue(ctx, tx, provider, []string{subject}, Fetch)
	return err
}

// EnqueueCheck enqueues a check of an account after some time, if it is connected then.
func (q *SyncQueue) EnqueueCheck(ctx context.Context, tx pgx.Tx, provider, subject string, after time.Duration) error {
	at := q.queue.Now().Add(after)
	job := syncJob{Provider: provider, Subject: subject, Late: at.UnixMilli()}
	_, err := q.queue.InsertTx(ctx, tx, job, &river.InsertOpts{ScheduledAt: at})
	return err
}

func (q *SyncQueue) enqueue(
	ctx context.Context, tx pgx.Tx, provider string, subjects []string, what Sync,
) ([]*rivertype.JobInsertResult, error) {
	jobs, err := request(ctx, tx, provider, subjects, what)
	if err != nil || len(jobs) == 0 {
		return nil, err
	}
	params := make([]river.InsertManyParams, len(jobs))
	for i, job := range jobs {
		params[i].Args = job
	}
	return q.queue.InsertManyTx(ctx, tx, params)
}

// Register adds the worker of syncs.
func (s *Store) Register(workers *river.Workers) { river.AddWorker(workers, &syncWorker{store: s}) }

// Reconcile lists syncs whose job was lost, and requests and lists fetches of old entries. A request is stored before
// the scheduler enqueues its job. If that fails, the next Reconcile lists the sync again, because the request is
// overdue by then.
func (s *Store) Reconcile(ctx context.Context) (now, later []river.JobArgs, err error) {
	if now, err = s.overdueSyncs(ctx); err != nil {
		return now, nil, err
	}
	for _, p := range s.providers.Usable() {
		old, err := s.old(ctx, p)
		if err != nil {
			return now, nil, err
		}
		err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			fetches, err := request(ctx, tx, p.Key, old, Fetch)
			now = append(now, fetches...) // not later: a webhook's sync would be a duplicate, and wait until then
			return err
		})
		if err != nil {
			return now, nil, err
		}
	}
	return now, nil, nil
}

type syncWorker struct {
	river.WorkerDefaults[syncJob]
	store *Store
}

func (w *syncWorker) Work(ctx context.Context, job *river.Job[syncJob]) error {
	s := w.store
	p := s.providers.Get(job.Args.Provider)
	if p == nil {
		return nil
	}
	todo, err := s.requestsOf(ctx, p, job.Args.Subject)
	if errors.Is(err, connection.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if job.Args.Late > 0 && !todo.has(Check) {
		todo.numbers[Check] = 0 // there is no request for it
	}
	if todo.awaited {
		ctx = oauth.ForPerson(ctx)
	}
	if err := s.carryOut(ctx, p, todo); err != nil {
		return err
	}
	if err := todo.remove(ctx, s.pool); err != nil {
		return err
	}
	return s.finish(ctx, job, todo)
}

func (s *Store) carryOut(ctx context.Context, p *oauth.Provider, todo requests) error {
	var err error
	if todo.has(Check) {
		err = s.connections.Check(ctx, p, todo.userID)
	}
	if err == nil && todo.has(Fetch) {
		err = s.Fetch(ctx, p, todo.identityID)
	}
	if errors.Is(err, connection.ErrReconnect) || errors.Is(err, connection.ErrNotFound) {
		return nil // the connection's state says so
	}
	return err
}

// finish ends the job, unless there is a new request. A request is recorded before its job is enqueued, and finish
// looks for requests after the job has ended. So one of the two always sees the other.
func (s *Store) finish(ctx context.Context, job *river.Job[syncJob], todo requests) error {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job); err != nil {
			return fmt.Errorf("activity: end a sync: %w", err)
		}
		return todo.noneLeft(ctx, tx)
	})
	if errors.Is(err, errRequestsLeft) {
		return river.JobSnooze(max(todo.pause, time.Second))
	}
	return err
}
