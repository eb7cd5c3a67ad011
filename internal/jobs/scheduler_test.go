package jobs

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/riverqueue/river"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

// noop is a job that is done at once.
type noop struct {
	ID int64 `json:"id" river:"unique"`
}

func (noop) Kind() string { return "noop" }

func (noop) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: "strava", UniqueOpts: river.UniqueOpts{ByArgs: true}}
}

// feature has such jobs, and lists those of its fields.
type feature struct {
	now, later []river.JobArgs
	err        error
}

func (*feature) Register(workers *river.Workers) {
	river.AddWorker(workers, river.WorkFunc(func(context.Context, *river.Job[noop]) error { return nil }))
}

func (f *feature) Reconcile(context.Context) (now, later []river.JobArgs, err error) {
	return f.now, f.later, f.err
}

// What features list is enqueued once, now or over the time until the next reconcile, even if one of them fails.
func TestSchedulerEnqueuesWhatFeaturesList(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	broken := errors.New("broken")
	first, second := &feature{now: []river.JobArgs{noop{1}}, err: broken}, &feature{}
	for id := range int64(2 * batch) {
		second.later = append(second.later, noop{2 + id})
	}
	j := newInstance(t, pool, nil, Limits{Reconcile: time.Hour}, 0)
	s := &scheduler{queue: j.queue, features: []Feature{first, second}}
	for range 2 {
		if err := s.Work(t.Context(), nil); !errors.Is(err, broken) {
			t.Fatalf("error %v, want that of the feature", err)
		}
	}
	var now, later, first20, last20 int
	err := pool.QueryRow(t.Context(), `
		SELECT count(*) FILTER (WHERE state = 'available'),
		       count(*) FILTER (WHERE state = 'scheduled' AND scheduled_at < now() + '1 hour'),
		       count(*) FILTER (WHERE state = 'scheduled' AND scheduled_at < now() + '20 minutes'),
		       count(*) FILTER (WHERE state = 'scheduled' AND scheduled_at > now() + '40 minutes')
		FROM cairn.river_job WHERE kind = 'noop'`).Scan(&now, &later, &first20, &last20)
	if err != nil || now != 1 || later != 2*batch || first20 < batch/2 || last20 < batch/2 {
		t.Errorf("%d now, %d later: %d in the first third, %d in the last (error %v)", now, later, first20, last20, err)
	}
}

// An instance reconciles after its start.
func TestReconcileFollowsTheStart(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	queue := newInstance(t, pool, nil, Limits{FirstReconcile: time.Millisecond}, 0).queue
	j, err := New(queue, &feature{now: []river.JobArgs{noop{1}}})
	if err != nil {
		t.Fatal(err)
	}
	runs(t, j)
	testkit.Eventually(t, "the listed job is done", says(t, pool, isDone, "1"))
}
