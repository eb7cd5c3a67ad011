package jobs

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/db/dbtest"
	"cairn/internal/activity"
	"cairn/internal/testkit"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// A server whose clock is wrong schedules jobs by the database's clock, as all others do.
func TestJobsAreDueByTheDatabasesClock(t *testing.T) {
	t.Parallel()
	for name, wrong := range map[string]time.Duration{"ahead": 3 * time.Hour, "behind": -3 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := dbtest.New(t)
			j := newInstance(t, pool, nil, Limits{}, wrong)
			err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
				return activity.NewSyncQueue(pool, j.queue).EnqueueCheck(t.Context(), tx, "strava", "7", time.Hour)
			})
			if err != nil {
				t.Fatal(err)
			}
			enqueue(t, j, pool, 1)
			for kind, want := range map[string]time.Duration{"revisit": time.Hour, "noop": 0} {
				var after, since time.Duration
				err := pool.QueryRow(t.Context(), `
					SELECT scheduled_at - now(), now() - created_at FROM cairn.river_job WHERE kind = $1`,
					kind).Scan(&after, &since)
				if err != nil || (after-want).Abs() > time.Minute || since.Abs() > time.Minute {
					t.Errorf("%s: due after %v, made %v ago (error %v)", kind, after, since, err)
				}
			}
			runs(t, j)
			testkit.Eventually(t, "the job that is due is done", says(t, pool, isDone, "1"))
		})
	}
}
