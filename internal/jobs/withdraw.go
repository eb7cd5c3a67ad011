package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"cairn/internal/oauth"
)

// withdrawal is a job: tell a provider, and go on until it confirms.
type withdrawal struct {
	ID int64 `json:"id" river:"unique"`
}

func (withdrawal) Kind() string { return "withdraw" }

// InsertOpts give a withdrawal a week: river waits the fourth power of the attempt's number in seconds.
func (withdrawal) InsertOpts() river.InsertOpts {
	return river.InsertOpts{MaxAttempts: 19, UniqueOpts: river.UniqueOpts{ByArgs: true}}
}

// Withdraw has a withdrawal carried out once the transaction is over (oauth.Enqueuer).
func (q *Queue) Withdraw(ctx context.Context, tx pgx.Tx, provider string, id int64) error {
	if _, err := q.client.InsertTx(ctx, tx, withdrawal{ID: id}, &river.InsertOpts{Queue: provider}); err != nil {
		return fmt.Errorf("jobs: put withdrawal %d aside: %w", id, err)
	}
	return nil
}

type withdrawer struct {
	river.WorkerDefaults[withdrawal]
	Deps
}

func (w *withdrawer) Work(ctx context.Context, job *river.Job[withdrawal]) error {
	err := w.Connections.Withdraw(ctx, job.Args.ID, w.provider)
	if errors.Is(err, oauth.ErrHeld) {
		return river.JobSnooze(time.Minute)
	}
	if _, later := w.clock.snoozeFor(job.JobRow, err); err != nil && !later && job.Attempt >= job.MaxAttempts {
		return errors.Join(err, w.Connections.GiveUp(ctx, job.Args.ID))
	}
	return err
}
