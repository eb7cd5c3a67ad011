package jobs

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

// newInstance returns one of several instances that share a database. Its host's clock is wrong by some time.
func newInstance(t *testing.T, pool *pgxpool.Pool, listen *pgx.ConnConfig, l Limits, wrong time.Duration) *Jobs {
	t.Helper()
	queue, err := newQueue(t.Context(), Options{
		Pool: pool, Log: slog.New(slog.DiscardHandler), Limits: l, Listen: listen, Queues: []string{"strava"},
	}, func() time.Time { return time.Now().Add(wrong) })
	if err != nil {
		t.Fatal(err)
	}
	j, err := New(queue, &feature{})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// runs makes an instance work until the test ends.
func runs(t *testing.T, j *Jobs) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- j.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// enqueue enqueues a job that is done at once.
func enqueue(t *testing.T, j *Jobs, pool *pgxpool.Pool, id int64) {
	t.Helper()
	err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		_, err := j.queue.InsertTx(t.Context(), tx, noop{ID: id}, nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func says(t *testing.T, pool *pgxpool.Pool, query string, args ...any) func() bool {
	return func() bool {
		var yes bool
		if err := pool.QueryRow(t.Context(), query, args...).Scan(&yes); err != nil {
			t.Fatal(err)
		}
		return yes
	}
}

const (
	isDone = `
		SELECT EXISTS (
			SELECT FROM cairn.river_job
			WHERE kind = 'noop' AND args->>'id' = $1::text AND state = 'completed')`
	listening = `
		SELECT count(*) > 0 FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()
			AND (query LIKE 'LISTEN %' OR query LIKE '%pg_is_in_recovery%')`
)

// never is longer than any test waits for something.
const never = time.Hour

// Without LISTEN, an instance soon begins a job that it has enqueued itself, although it asks seldom while idle.
func TestJobIsBegunSoonWithoutListening(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	j := newInstance(t, pool, nil, Limits{PollIdle: never}, 0)
	if j.queue.Limits.PollBusy > time.Second {
		t.Errorf("a job may wait for %v", j.queue.Limits.PollBusy)
	}
	runs(t, j)
	testkit.Eventually(t, "it works", says(t, pool, `SELECT count(*) > 0 FROM cairn.river_leader`))
	enqueue(t, j, pool, 1)
	testkit.Eventually(t, "the job is done", says(t, pool, isDone, "1"))
}

// Without LISTEN, a job that another instance has enqueued is found by asking.
func TestJobOfAnotherInstanceIsFound(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	runs(t, newInstance(t, pool, nil, Limits{PollIdle: 50 * time.Millisecond, Busy: time.Millisecond}, 0))
	enqueue(t, newInstance(t, pool, nil, Limits{}, 0), pool, 1)
	testkit.Eventually(t, "the job is done", says(t, pool, isDone, "1"))
}

// With LISTEN an instance need not ask, even after it has lost the connection.
func TestJobOfAnotherInstanceIsHeard(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	other := newInstance(t, pool, nil, Limits{}, 0)
	runs(t, newInstance(t, pool, pool.Config().ConnConfig, Limits{
		PollIdle: never, PollBusy: never, Relisten: 10 * time.Millisecond, ListenCheck: 50 * time.Millisecond,
	}, 0))
	testkit.Eventually(t, "it listens", says(t, pool, listening))
	enqueue(t, other, pool, 1)
	testkit.Eventually(t, "the job is done", says(t, pool, isDone, "1"))
	var ended int
	err := pool.QueryRow(t.Context(), `
		SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()
		  AND (query LIKE 'LISTEN %' OR query LIKE '%pg_is_in_recovery%')`).Scan(&ended)
	if err != nil || ended == 0 {
		t.Fatalf("%d connections ended, error %v", ended, err)
	}
	enqueue(t, other, pool, 2)
	testkit.Eventually(t, "the next job is done", says(t, pool, isDone, "2"))
}
