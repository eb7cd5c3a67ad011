package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"cairn/internal/connection"
)

// revocation is a job: it has a provider revoke the tokens of a revocation.
type revocation struct {
	ID int64 `json:"id" river:"unique"`
}

// Kind is the stored word for a revocation.
func (revocation) Kind() string { return "withdraw" }

// InsertOpts give a revocation a week: river waits the fourth power of the attempt's number in seconds.
func (revocation) InsertOpts() river.InsertOpts {
	return river.InsertOpts{MaxAttempts: 19, UniqueOpts: river.UniqueOpts{ByArgs: true}}
}

// EnqueueRevocation implements connection.Enqueuer.
func (q *Queue) EnqueueRevocation(ctx context.Context, tx pgx.Tx, provider string, id int64) error {
	if _, err := q.client.InsertTx(ctx, tx, revocation{ID: id}, &river.InsertOpts{Queue: provider}); err != nil {
		return fmt.Errorf("jobs: enqueue revocation %d: %w", id, err)
	}
	return nil
}

type revoker struct {
	river.WorkerDefaults[revocation]
	Deps
}

func (w *revoker) Work(ctx context.Context, job *river.Job[revocation]) error {
	err := w.Connections.Revoke(ctx, job.Args.ID)
	if errors.Is(err, connection.ErrHeld) {
		return river.JobSnooze(time.Minute)
	}
	if _, later := w.clock.snoozeFor(job.JobRow, err); err != nil && !later && job.Attempt >= job.MaxAttempts {
		return errors.Join(err, w.Connections.AbandonRevocation(ctx, job.Args.ID))
	}
	return err
}
