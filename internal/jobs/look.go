package jobs

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
)

// look is a job that finds others: connections that grow idle or whose refresh was cut off, and withdrawals whose own job was
// lost.
type look struct{}

func (look) Kind() string { return "look" }

func (look) InsertOpts() river.InsertOpts { return river.InsertOpts{MaxAttempts: 3} }

type looker struct {
	river.WorkerDefaults[look]
	Deps
}

func (l *looker) Work(ctx context.Context, _ *river.Job[look]) error {
	var found []river.InsertManyParams
	for _, p := range l.Providers {
		idle, err := l.Connections.Idle(ctx, p)
		if err != nil {
			return err
		}
		for _, i := range idle {
			at := time.Now()
			if !i.CutOff { // spread out, so that a provider does not see them all at once
				at = at.Add(rand.N(lookEvery))
			}
			found = append(found, river.InsertManyParams{
				Args:       keepAlive{p.Key, i.UserID, i.Generation},
				InsertOpts: &river.InsertOpts{ScheduledAt: at},
			})
		}
	}
	pending, err := l.Connections.Pending(ctx)
	if err != nil {
		return err
	}
	for _, id := range pending {
		found = append(found, river.InsertManyParams{Args: withdrawal{ID: id}})
	}
	if len(found) == 0 {
		return nil
	}
	if _, err := river.ClientFromContext[pgx.Tx](ctx).InsertMany(ctx, found); err != nil {
		return fmt.Errorf("jobs: put aside what was found: %w", err)
	}
	return nil
}
