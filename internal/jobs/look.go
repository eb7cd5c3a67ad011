package jobs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/riverqueue/river"

	"cairn/internal/oauth"
)

// look is a job that finds others: connections that grow idle or whose refresh was cut off, entries
// and pictures that grow old, and work whose own job was lost.
type look struct{}

func (look) Kind() string { return "look" }

func (look) InsertOpts() river.InsertOpts { return river.InsertOpts{MaxAttempts: 3} }

type looker struct {
	river.WorkerDefaults[look]
	Deps
}

func (l *looker) Work(ctx context.Context, _ *river.Job[look]) error {
	if err := errors.Join(l.Activity.Sweep(ctx), l.Connections.SweepPictures(ctx)); err != nil {
		return err
	}
	found, err := l.lost(ctx)
	if err != nil {
		return err
	}
	for _, p := range l.Providers.Usable() {
		idle, err := l.idle(ctx, p)
		if err != nil {
			return err
		}
		pictures, err := l.pictures(ctx, p)
		if err != nil {
			return err
		}
		found = append(append(found, idle...), pictures...)
		old, err := l.Activity.Old(ctx, p)
		if err != nil {
			return err
		}
		if err := l.EnqueueSync(ctx, p.Key, old, Fetch); err != nil {
			return err
		}
	}
	if len(found) == 0 {
		return nil
	}
	if _, err := l.client.InsertMany(ctx, found); err != nil {
		return fmt.Errorf("jobs: enqueue what was found: %w", err)
	}
	return nil
}

func (l *looker) idle(ctx context.Context, p *oauth.Provider) (found []river.InsertManyParams, err error) {
	idle, err := l.Connections.Idle(ctx, p)
	if err != nil {
		return nil, err
	}
	for _, i := range idle {
		at := l.clock.Now()
		if !i.CutOff { // spread out, so that a provider does not see them all at once
			at = at.Add(rand.N(l.Limits.Look))
		}
		found = append(found, river.InsertManyParams{
			Args:       keepAlive{p.Key, i.UserID, i.Generation},
			InsertOpts: &river.InsertOpts{ScheduledAt: at},
		})
	}
	return found, nil
}

// lost are revocations and syncs whose job was lost. Those that have a job get no second one.
func (l *looker) lost(ctx context.Context) (found []river.InsertManyParams, err error) {
	for _, provider := range l.Providers.Keys() { // those without keys too: their turn ends some day
		pending, err := l.Connections.PendingRevocations(ctx, provider)
		if err != nil {
			return nil, err
		}
		for _, id := range pending {
			found = append(found, river.InsertManyParams{
				Args:       revocation{ID: id},
				InsertOpts: &river.InsertOpts{Queue: provider},
			})
		}
	}
	syncs, err := overdueSyncs(ctx, l.Pool)
	if err != nil {
		return nil, err
	}
	for _, job := range syncs {
		found = append(found, river.InsertManyParams{Args: job})
	}
	return found, nil
}
