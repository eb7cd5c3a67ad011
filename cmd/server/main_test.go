package main

import (
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

// The promise of the product, with nothing configured: who signed in and connected stays so, whatever happens to the
// server.
func TestStaySignedInAcrossRestartAndKill(t *testing.T) {
	t.Parallel()
	dir := testkit.DataDir(t)
	env := []string{"DATA_DIR=" + dir, "PORT=" + testkit.FreePort(t)}
	server := startProcess(t, env...)
	b := testkit.NewBrowser(t)
	b.SignUp(server.URL, "ada@example.org")
	for _, provider := range []string{"garmin", "foursquare", "strava"} {
		b.Connect(server.URL, provider, "ada")
	}
	for _, tt := range []struct {
		signal syscall.Signal
		code   int
	}{{syscall.SIGTERM, 0}, {syscall.SIGINT, 0}, {syscall.SIGKILL, -1}, {syscall.SIGKILL, -1}} {
		if code := server.End(tt.signal); code != tt.code {
			t.Errorf("after %v it exited with %d, want %d:\n%s", tt.signal, code, tt.code, server.Logged())
		}
		testkit.Eventually(t, "PostgreSQL has stopped too", func() bool { return postgresOf(dir) == 0 })
		server = startProcess(t, env...)
		b.WantConnected(server.URL, 3)
	}
	b.Check(server.URL, "strava")
	for _, secret := range []string{"granite", "state=", "code="} {
		if strings.Contains(server.Logged(), secret) {
			t.Errorf("the log tells %q", secret)
		}
	}
}

// Two servers on one data directory, and later on one database of the operator's, are one site.
func TestTwoInstances(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	dir := testkit.DataDir(t)
	for name, env := range map[string][]string{
		"private database": {"DATA_DIR=" + dir, "PORT=0"},
		"DATABASE_URL":     {"DATA_DIR=" + dir, "PORT=0", "DATABASE_URL=" + dbtest.NewPatientURL(t)},
	} {
		t.Run(name, func(t *testing.T) {
			one, two := startProcess(t, env...), start(t, env...)
			b := testkit.NewBrowser(t)
			b.SignUp(one.URL, "ada@example.org")
			b.WantConnected(two.url, 0)
			b.Connect(two.url, "strava", "moss")
			b.WantConnected(one.URL, 1)
			one.End(syscall.SIGKILL)
			b.WantConnected(two.url, 1)
			one = startProcess(t, env...)
			b.Send(http.MethodPost, two.url+"/logout", url.Values{})
			_, page := b.Send(http.MethodGet, one.URL+"/", nil)
			if page.Find("header a[href='/account']").Length() != 0 {
				t.Error("signed out on one, still signed in on the other")
			}
		})
	}
}

// A server that is told to stop finishes what it has begun.
func TestStopFinishesRequestsInFlight(t *testing.T) {
	t.Parallel()
	address := dbtest.NewPatientURL(t)
	server := start(t, "PORT=0", "DATABASE_URL="+address)
	b := testkit.NewBrowser(t)
	b.SignUp(server.url, "ada@example.org")
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `LOCK TABLE cairn.sessions IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	answered := make(chan int, 1)
	go func() {
		status, _ := b.Send(http.MethodGet, server.url+"/api/auth/me", nil)
		answered <- status
	}()
	watch, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = watch.Close(t.Context()) }()
	testkit.Eventually(t, "the request waits for the lock", func() bool {
		var waiting bool
		_ = watch.QueryRow(t.Context(), `
			SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted
				AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`).Scan(&waiting)
		return waiting
	})
	server.stop()
	testkit.Eventually(t, "it says that it stops", func() bool {
		return strings.Contains(server.logged(), `"stopping"`)
	})
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close(t.Context())
	if status := <-answered; status != http.StatusOK {
		t.Errorf("the request in flight got %d, want 200", status)
	}
	if code := server.end(); code != 0 {
		t.Errorf("exit code %d, want 0:\n%s", code, server.logged())
	}
}

func TestFiveInstancesStartAtOnceOnAnEmptyDatabase(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	env := []string{"DATA_DIR=" + testkit.DataDir(t), "PORT=0", "DATABASE_URL=" + dbtest.NewEmptyURL(t)}
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			server := start(t, env...)
			if resp, err := http.Get(server.url + "/readyz"); err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("not ready: %v", err)
			} else {
				_ = resp.Body.Close()
			}
		})
	}
	wg.Wait()
}

func TestMigrateAlone(t *testing.T) {
	t.Parallel()
	address := dbtest.NewEmptyURL(t)
	for range 2 {
		commandOutput(t, []string{"DATABASE_URL=" + address}, "migrate")
	}
	pool, err := pgxpool.New(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var ours, theirs int
	err = pool.QueryRow(t.Context(), `
		SELECT count(*) FILTER (WHERE schemaname = 'cairn'), count(*) FILTER (WHERE schemaname = 'public')
		FROM pg_tables`).Scan(&ours, &theirs)
	if err != nil || ours < 6 || theirs != 0 {
		t.Errorf("%d tables in the schema cairn, %d in public (error %v); want some and none", ours, theirs, err)
	}
}

func TestWhatKeepsItFromStarting(t *testing.T) {
	t.Parallel()
	taken := start(t, "PORT=0", "DATABASE_URL="+dbtest.NewPatientURL(t))
	_, port, _ := strings.Cut(strings.TrimPrefix(taken.url, "http://"), ":")
	for name, tt := range map[string]struct {
		args string
		env  []string
		want []string
	}{
		"usage":      {"server", nil, []string{`there is no command "server"; see: server help`}},
		"port taken": {"", []string{"PORT=" + port}, []string{"PORT " + port}},
		"several at once": {"",
			[]string{"PORT=x", "ENCRYPTION_KEY=12", "SESSION_SECRET=short", "NODE_ENV=production"},
			[]string{"PORT", "ENCRYPTION_KEY", "SESSION_SECRET", "PUBLIC_URL", "DATABASE_URL"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantFailure(t, tt.env, tt.args, tt.want...)
		})
	}
}

// A database that is down is waited for, and the log says so without telling how to get in.
func TestDatabaseThatComesLater(t *testing.T) {
	t.Parallel()
	cmd := serverCommand(t, nil, "PORT=0", "DATA_DIR="+testkit.DataDir(t),
		"DATABASE_URL=postgres://ada:hunter2hunter2@127.0.0.1:1/cairn")
	var log testkit.Journal
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it says that it waits", func() bool { return strings.Contains(log.String(), "127.0.0.1:1") })
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(testkit.Patience):
		_ = cmd.Process.Kill()
		t.Error("it can't be interrupted while it waits")
	}
	if strings.Contains(log.String(), "hunter2") {
		t.Errorf("the log tells the password:\n%s", log.String())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
