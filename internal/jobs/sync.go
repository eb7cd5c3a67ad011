package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"cairn/internal/connection"
	"cairn/internal/oauth"
)

// syncJob carries out the sync requests of a connection. Nobody has proven that something has changed, so only the
// provider's answer is believed.
type syncJob struct {
	Provider string `json:"provider" river:"unique"`
	Subject  string `json:"subject" river:"unique"`
	// Late is when to check the connection, even without a request, in Unix milliseconds. Such a job is no
	// duplicate of one at another time. 0 means soon, and only what is requested.
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

// EnqueueSync requests a sync of the connections to these subjects. It leaves out subjects that nobody has connected.
func (q *Queue) EnqueueSync(ctx context.Context, provider string, subjects []string, what Sync) error {
	return pgx.BeginFunc(ctx, q.Pool, func(tx pgx.Tx) error {
		_, err := q.enqueueSync(ctx, tx, provider, subjects, what)
		return err
	})
}

// EnqueueSyncNow is EnqueueSync for a person who waits: a job that was put off starts now.
func (q *Queue) EnqueueSyncNow(ctx context.Context, provider, subject string, what Sync) error {
	return pgx.BeginFunc(ctx, q.Pool, func(tx pgx.Tx) error {
		inserted, err := q.enqueueSync(ctx, tx, provider, []string{subject}, what)
		if err == nil {
			err = markAwaited(ctx, tx, provider, subject, what)
		}
		for _, job := range inserted {
			if err == nil && job.UniqueSkippedAsDuplicate {
				_, err = q.client.JobRetryTx(ctx, tx, job.Job.ID)
				q.waker.pollOften()
			}
		}
		return err
	})
}

// EnqueueFetch implements connection.Enqueuer. The account's picture is fetched, too.
func (q *Queue) EnqueueFetch(ctx context.Context, tx pgx.Tx, provider, subject string) error {
	if _, err := q.enqueueSync(ctx, tx, provider, []string{subject}, Fetch); err != nil {
		return err
	}
	return q.enqueuePicture(ctx, tx, provider, subject)
}

// EnqueueCheck implements connection.Enqueuer.
func (q *Queue) EnqueueCheck(ctx context.Context, tx pgx.Tx, provider, subject string, after time.Duration) error {
	at := q.clock.Now().Add(after)
	job := syncJob{Provider: provider, Subject: subject, Late: at.UnixMilli()}
	if _, err := q.client.InsertTx(ctx, tx, job, &river.InsertOpts{ScheduledAt: at}); err != nil {
		return fmt.Errorf("jobs: enqueue a check at %s: %w", provider, err)
	}
	return nil
}

func (q *Queue) enqueueSync(
	ctx context.Context, tx pgx.Tx, provider string, subjects []string, what Sync,
) ([]*rivertype.JobInsertResult, error) {
	connected, err := request(ctx, tx, provider, subjects, what)
	if err != nil || len(connected) == 0 {
		return nil, err
	}
	params := make([]river.InsertManyParams, len(connected))
	for i, subject := range connected {
		params[i] = river.InsertManyParams{Args: syncJob{Provider: provider, Subject: subject}}
	}
	inserted, err := q.client.InsertManyTx(ctx, tx, params)
	if err != nil {
		return nil, fmt.Errorf("jobs: enqueue syncs with %s: %w", provider, err)
	}
	return inserted, nil
}

type syncer struct {
	river.WorkerDefaults[syncJob]
	Deps
}

func (s *syncer) Work(ctx context.Context, job *river.Job[syncJob]) error {
	p := s.Providers.Get(job.Args.Provider)
	if p == nil {
		return nil
	}
	todo, err := requestsOf(ctx, s.Deps, p.Key, job.Args.Subject)
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
	if err := todo.remove(ctx, s.Pool); err != nil {
		return err
	}
	return s.finish(ctx, job, todo)
}

func (s *syncer) carryOut(ctx context.Context, p *oauth.Provider, todo requests) error {
	var err error
	if todo.has(Check) {
		err = s.Connections.Check(ctx, p, todo.userID)
	}
	if err == nil && todo.has(Fetch) {
		err = s.Activity.Fetch(ctx, p, todo.identityID)
	}
	if errors.Is(err, connection.ErrReconnect) || errors.Is(err, connection.ErrNotFound) {
		return nil // that is the result
	}
	return err
}

// finish ends the job, unless there is a new request. A transaction records a request before it enqueues a job; finish
// looks for requests after the job has ended. So one of the two always sees the other.
func (s *syncer) finish(ctx context.Context, job *river.Job[syncJob], todo requests) error {
	err := pgx.BeginFunc(ctx, s.Pool, func(tx pgx.Tx) error {
		if _, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job); err != nil {
			return fmt.Errorf("jobs: end a sync: %w", err)
		}
		return todo.noneLeft(ctx, tx)
	})
	if errors.Is(err, errRequestsLeft) {
		return river.JobSnooze(max(todo.pause, time.Second))
	}
	return err
}
