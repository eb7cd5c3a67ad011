package metrics

import (
	"regexp"
	"strconv"
	"testing"

	"cairn/db/dbtest"
)

// Waits are given by kind and queue. A job that is not due yet does not count.
func TestJobsThatWait(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	_, err := pool.Exec(t.Context(), `
		INSERT INTO cairn.river_job (kind, queue, args, max_attempts, state, scheduled_at, finalized_at)
		SELECT kind, queue, '{}', 5, state::cairn.river_job_state, now() - ago::interval,
		       CASE WHEN state = 'completed' THEN now() END
		FROM (VALUES ('revisit', 'strava', 'available', '90 s'),
		             ('revisit', 'strava', 'running', '200 s'),
		             ('revisit', 'garmin', 'retryable', '-60 s'),
		             ('withdraw', 'garmin', 'completed', '900 s'),
		             ('withdraw', 'strava', 'retryable', '30 s')) jobs (kind, queue, state, ago)`)
	if err != nil {
		t.Fatal(err)
	}
	wait := regexp.MustCompile(`(?m)^cairn_job_wait_seconds\{kind="(\w+)",queue="(\w+)"\} (\d+)$`)
	found := wait.FindAllStringSubmatch(scrape(t, pool), -1)
	want := map[string]int{"revisit strava": 200, "withdraw strava": 30}
	if len(found) != len(want) {
		t.Errorf("got %v, want %v", found, want)
	}
	for _, f := range found {
		least, ok := want[f[1]+" "+f[2]]
		if seconds, _ := strconv.Atoi(f[3]); !ok || seconds < least || seconds > least+60 {
			t.Errorf("%v, want %v", f, want)
		}
	}
}
