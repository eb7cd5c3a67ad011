package jobs

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

	"cairn/internal/oauth"
)

// revisit is a job: it runs the errands of a connection. Nobody has proven that there is something
// to do, so only the provider's answer is believed.
type revisit struct {
	Provider string `json:"provider" river:"unique"`
	Subject  string `json:"subject" river:"unique"`
	// Late is when to ask how the connection is, even if there is nothing else to do, in Unix
	// milliseconds. Such a visit is no duplicate of one at another time. 0 means soon, for the
	// errands.
	Late int64 `json:"late,omitempty" river:"unique"`
}

func (revisit) Kind() string { return "revisit" }

// InsertOpts let one job stand for all errands of a connection.
func (v revisit) InsertOpts() river.InsertOpts {
	return river.InsertOpts{
		Queue:       v.Provider,
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

// Visit has the connections to these subjects visited soon. Subjects that nobody has connected are left out.
func (q *Queue) Visit(ctx context.Context, provider string, subjects []string, what Errand) error {
	return visit(ctx, q.Pool, q.client, provider, subjects, what)
}

// VisitNew has a connection visited that is being made in tx (oauth.Enqueuer).
func (q *Queue) VisitNew(ctx context.Context, tx pgx.Tx, provider, subject string) error {
	_, err := visitTx(ctx, q.client, tx, provider, []string{subject}, Fetch)
	return err
}

// VisitLater has the connection to an account asked about when so much time is over, if there is one then
// (oauth.Enqueuer).
func (q *Queue) VisitLater(ctx context.Context, tx pgx.Tx, provider, subject string, after time.Duration) error {
	at := q.clock.Now().Add(after)
	late := revisit{Provider: provider, Subject: subject, Late: at.UnixMilli()}
	if _, err := q.client.InsertTx(ctx, tx, late, &river.InsertOpts{ScheduledAt: at}); err != nil {
		return fmt.Errorf("jobs: put a late visit to %s aside: %w", provider, err)
	}
	return nil
}

// VisitNow is Visit for somebody who waits for it: a visit that was put off is made now.
func (q *Queue) VisitNow(ctx context.Context, provider, subject string, what Errand) error {
	return pgx.BeginFunc(ctx, q.Pool, func(tx pgx.Tx) error {
		inserted, err := visitTx(ctx, q.client, tx, provider, []string{subject}, what)
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

func visit(
	ctx context.Context, pool *pgxpool.Pool, client *river.Client[pgx.Tx], provider string, subjects []string, what Errand,
) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		_, err := visitTx(ctx, client, tx, provider, subjects, what)
		return err
	})
}

func visitTx(
	ctx context.Context, client *river.Client[pgx.Tx], tx pgx.Tx, provider string, subjects []string, what Errand,
) ([]*rivertype.JobInsertResult, error) {
	connected, err := note(ctx, tx, provider, subjects, what)
	if err != nil || len(connected) == 0 {
		return nil, err
	}
	params := make([]river.InsertManyParams, len(connected))
	for i, subject := range connected {
		params[i] = river.InsertManyParams{Args: revisit{Provider: provider, Subject: subject}}
	}
	inserted, err := client.InsertManyTx(ctx, tx, params)
	if err != nil {
		return nil, fmt.Errorf("jobs: put visits to %s aside: %w", provider, err)
	}
	return inserted, nil
}

type visitor struct {
	river.WorkerDefaults[revisit]
	Deps
}

func (v *visitor) Work(ctx context.Context, job *river.Job[revisit]) error {
	p := v.provider(job.Args.Provider)
	if p == nil {
		return nil
	}
	todo, err := errandsOf(ctx, v.Deps, p.Key, job.Args.Subject)
	if errors.Is(err, oauth.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if job.Args.Late > 0 && !todo.has(Check) {
		todo.reasons[Check] = 0 // nobody has noted it
	}
	if todo.awaited {
		ctx = oauth.ForPerson(ctx)
	}
	if err := v.run(ctx, p, todo); err != nil {
		return err
	}
	if err := todo.done(ctx, v.Pool); err != nil {
		return err
	}
	return v.finish(ctx, job, todo)
}

// run does what is to be done.
func (v *visitor) run(ctx context.Context, p *oauth.Provider, todo errands) error {
	var err error
	if todo.has(Check) {
		err = v.Connections.Check(ctx, p, todo.userID)
	}
	if err == nil && todo.has(Fetch) {
		err = v.Latest.Fetch(ctx, p, todo.identityID)
	}
	if errors.Is(err, oauth.ErrReconnect) || errors.Is(err, oauth.ErrNotFound) {
		return nil // that is what there was to find out
	}
	return err
}

// finish ends the job, unless there is a new errand. A transaction that notes an errand does so
// before it enqueues a job; finish looks for errands after the job has ended. So one of the two
// always sees the other.
func (v *visitor) finish(ctx context.Context, job *river.Job[revisit], todo errands) error {
	err := pgx.BeginFunc(ctx, v.Pool, func(tx pgx.Tx) error {
		if _, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job); err != nil {
			return fmt.Errorf("jobs: end a visit: %w", err)
		}
		return todo.left(ctx, tx)
	})
	if errors.Is(err, errMoreToDo) {
		return river.JobSnooze(max(todo.rest, time.Second))
	}
	return err
}
