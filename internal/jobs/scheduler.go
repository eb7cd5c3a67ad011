package jobs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/riverqueue/river"
)

// batch is how many jobs the scheduler enqueues in one statement.
const batch = 500

// reconcile is a job that calls Reconcile of each feature.
type reconcile struct{}

// Kind is the stored word for it.
func (reconcile) Kind() string { return "look" }

func (reconcile) InsertOpts() river.InsertOpts { return river.InsertOpts{MaxAttempts: 3} }

// scheduler enqueues what features list. A feature that fails does not stop the others.
type scheduler struct {
	river.WorkerDefaults[reconcile]
	queue    *Queue
	features []Feature
}

func (s *scheduler) Work(ctx context.Context, _ *river.Job[reconcile]) error {
	var failed error
	for _, f := range s.features {
		now, later, err := f.Reconcile(ctx)
		failed = errors.Join(failed, err, s.enqueue(ctx, now, 0), s.enqueue(ctx, later, s.queue.Limits.Reconcile))
	}
	return failed
}

// enqueue spreads jobs over a time, so that a provider does not get them all at once. It leaves out jobs that exist
// already.
func (s *scheduler) enqueue(ctx context.Context, all []river.JobArgs, spread time.Duration) error {
	for some := range slices.Chunk(all, batch) {
		params := make([]river.InsertManyParams, len(some))
		for i, args := range some {
			params[i].Args = args
			if spread > 0 {
				params[i].InsertOpts = &river.InsertOpts{ScheduledAt: s.queue.Now().Add(rand.N(spread))}
			}
		}
		if _, err := s.queue.client.InsertMany(ctx, params); err != nil {
			return fmt.Errorf("jobs: enqueue what a feature listed: %w", err)
		}
	}
	return nil
}
