package node_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/internal/testkit"
)

// size returns a number from a variable (make import-test).
func size(t *testing.T, variable string, usual int) int {
	t.Helper()
	value := os.Getenv(variable)
	if value == "" {
		return usual
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		t.Fatalf("%s is no number", variable)
	}
	return n
}

// An import that is killed again and again brings everybody, and everybody once.
func TestKilledImportIsCompleted(t *testing.T) {
	t.Parallel()
	users, kills := size(t, "IMPORT_USERS", 5000), size(t, "IMPORT_KILLS", 2)
	r := newRig(t)
	r.generate(users)
	began := time.Now()
	var most int64 // bytes that a process had
	for kill := range kills {
		process := r.startImport()
		r.awaitRow(users*(kill+1)/(kills+1), process)
		testkit.AtRandom(50 * time.Millisecond)
		_ = process.Process.Kill()
		<-process.ended
		most = max(most, process.memory())
		testkit.Eventually(t, "PostgreSQL has noticed the kill", func() bool {
			return ask[bool](r, `SELECT NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory'
				AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`)
		})
	}
	process := r.startImport()
	process.succeed()
	took := time.Since(began)
	most = max(most, process.memory())
	r.everybodyOnce(users)

	began = time.Now()
	process = r.startImport()
	process.succeed()
	again := time.Since(began)
	most = max(most, process.memory())
	has(t, fmt.Sprint(process.Stdout), fmt.Sprint(users)+" brought nothing new", " 0 became accounts")
	testkit.Row(t, "users", "kills", "duration", "users a second", "a run that finds nothing new", "most memory")
	testkit.Row(t, testkit.Cell("%d", users), testkit.Cell("%d", kills), took.Round(time.Second).String(),
		testkit.Cell("%.0f", float64(users)/took.Seconds()), again.Round(100*time.Millisecond).String(),
		testkit.Cell("%d MB", most/1_000_000))
}

// generate inserts users of the Node server: each has Foursquare and a link, every second one Strava, and every fourth
// Garmin.
func (r rig) generate(users int) {
	r.t.Helper()
	columns := []string{
		"id", "foursquare_user_id", "display_name", "avatar_url", "secret_token", "access_token_encrypted",
		"strava_oauth_tokens_encrypted", "strava_athlete_id", "garmin_oauth_tokens_encrypted",
	}
	rows := pgx.CopyFromSlice(users, func(i int) ([]any, error) {
		p := person(int64(i + 1))
		p.athlete = 10_000_000 + p.id // person gives Foursquare's ids up to here
		if i%2 > 0 {
			p.strava, p.athlete = nil, nil
		}
		if i%4 > 0 {
			p.garmin = nil
		}
		return []any{p.id, p.foursquare, p.name, p.avatar, p.link, p.token, p.strava, p.athlete, p.garmin}, nil
	})
	if _, err := r.from.CopyFrom(r.t.Context(), pgx.Identifier{"public", "users"}, columns, rows); err != nil {
		r.t.Fatal(err)
	}
	r.nodeExec(`ANALYZE public.users`)
}

// importing is server node import in a process of its own.
type importing struct {
	*exec.Cmd
	t     *testing.T
	ended chan struct{} // closed when it has
}

func (r rig) startImport() importing {
	r.t.Helper()
	cmd := exec.Command(os.Args[0], "import")
	cmd.Dir = r.t.TempDir() // so that it reads no .env here
	cmd.Env = append(r.environ(), playsCommand+"=1", "PATH="+os.Getenv("PATH"), "GORACE=atexit_sleep_ms=50")
	cmd.Stdout, cmd.Stderr = &bytes.Buffer{}, &bytes.Buffer{}
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	i := importing{cmd, r.t, make(chan struct{})}
	go func() { defer close(i.ended); _ = cmd.Wait() }()
	r.t.Cleanup(func() { _ = cmd.Process.Kill(); <-i.ended })
	return i
}

// succeed waits until it has succeeded.
func (i importing) succeed() {
	i.t.Helper()
	if <-i.ended; !i.ProcessState.Success() {
		i.t.Fatalf("the import: %v: %s", i.ProcessState, i.Stderr)
	}
}

// memory returns the most memory that it had, in bytes.
func (i importing) memory() int64 {
	usage, _ := i.ProcessState.SysUsage().(*syscall.Rusage)
	return usage.Maxrss * 1024 // Linux counts in kilobytes
}

// awaitRow waits until the import has come to a row.
func (r rig) awaitRow(row int, process importing) {
	r.t.Helper()
	testkit.Eventually(r.t, fmt.Sprint("the import has come to row ", row), func() bool {
		select {
		case <-process.ended:
			r.t.Fatalf("it has ended: %v: %s", process.ProcessState, process.Stderr)
		default:
		}
		return ask[int](r, `SELECT COALESCE(max(node_id), 0) FROM cairn.node_users`) >= row
	})
}

func (r rig) everybodyOnce(users int) {
	r.t.Helper()
	withStrava, withGarmin := (users+1)/2, (users+3)/4
	for what, want := range map[string]int{
		`cairn.users`: users,
		`cairn.node_users WHERE user_id > 0 AND link_hash IS NOT NULL`:         users,
		`cairn.identities WHERE provider = 'foursquare' AND signs_in`:          users,
		`cairn.identities WHERE provider = 'strava' AND NOT signs_in`:          withStrava,
		`cairn.connections WHERE provider = 'foursquare' AND state = 'active'`: users,
		`cairn.connections WHERE provider = 'strava' AND state = 'active'`:     withStrava,
		`cairn.connections WHERE provider = 'garmin' AND state <> 'active'`:    withGarmin,
		`cairn.node_connections WHERE generation > 0`:                          users + withStrava + withGarmin,
	} {
		if n := ask[int](r, `SELECT count(*) FROM `+what); n != want {
			r.t.Errorf("%s: %d instead of %d", what, n, want)
		}
	}
}
