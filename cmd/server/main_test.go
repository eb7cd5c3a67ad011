package main

import (
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

// The promise of the product, with nothing configured: people stay signed in and connected when the server restarts or
// is killed.
func TestStaySignedInAcrossRestartAndKill(t *testing.T) {
	testkit.Long(t)
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
			t.Errorf("the log contains %q", secret)
		}
	}
}

// Two servers on one data directory, or on one DATABASE_URL, are one site.
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

// A server that is asked to stop finishes the requests in flight.
func TestStopFinishesRequestsInFlight(t *testing.T) {
	t.Parallel()
	address := dbtest.NewPatientURL(t)
	server := start(t, "PORT=0", "DATABASE_URL="+address)
	b := testkit.NewBrowser(t)
	b.SignUp(server.url, "ada@example.org")
	// No background job reads this table, so only the request waits.
	release := testkit.Lock(t, address, "cairn.passkeys", "ACCESS EXCLUSIVE")
	answered := server.ask(b, "/account")
	testkit.Eventually(t, "the request waits for the lock", func() bool {
		return testkit.Ask[bool](t, address, `
			SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted
				AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`)
	})
	server.stop()
	testkit.Eventually(t, "it logs that it is stopping", func() bool {
		return strings.Contains(server.logged(), `"stopping"`)
	})
	release()
	if status := <-answered; status != http.StatusOK {
		t.Errorf("the request in flight got %d, want 200", status)
	}
	if code := server.end(); code != 0 {
		t.Errorf("exit code %d, want 0:\n%s", code, server.logged())
	}
}

// ask sends a request on another goroutine. The channel gets the status of the answer, or 0 if there is none.
func (s *serving) ask(b testkit.Browser, path string) (answered chan int) {
	answered = make(chan int, 1)
	go func() {
		defer close(answered)
		status, _ := b.Send(http.MethodGet, s.url+path, nil)
		answered <- status
	}()
	return answered
}

func TestFiveInstancesStartAtOnceOnAnEmptyDatabase(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	env := []string{"DATA_DIR=" + testkit.DataDir(t), "DATABASE_URL=" + dbtest.NewEmptyURL(t)}
	for _, server := range startTogether(t, 5, env) {
		if status, _ := testkit.NewBrowser(t).Send(http.MethodGet, server.url+"/readyz", nil); status != http.StatusOK {
			t.Errorf("/readyz answers %d", status)
		}
	}
}

func TestMigrateAlone(t *testing.T) {
	t.Parallel()
	address := dbtest.NewEmptyURL(t)
	for range 2 {
		commandOutput(t, []string{"DATABASE_URL=" + address}, "migrate")
	}
	tablesIn := func(schema string) int {
		return testkit.Ask[int](t, address, `SELECT count(*)::int FROM pg_tables WHERE schemaname = '`+schema+`'`)
	}
	if ours, theirs := tablesIn("cairn"), tablesIn("public"); ours < 6 || theirs != 0 {
		t.Errorf("%d tables in the schema cairn, %d in public; want some and none", ours, theirs)
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

// A server waits for a database that is down, and its log says so without the password.
func TestDatabaseThatComesLater(t *testing.T) {
	t.Parallel()
	cmd := serverCommand(t, nil, "PORT=0", "DATA_DIR="+testkit.DataDir(t),
		"DATABASE_URL=postgres://ada:hunter2hunter2@127.0.0.1:1/cairn")
	var log testkit.Journal
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it logs that it waits", func() bool { return strings.Contains(log.String(), "127.0.0.1:1") })
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
		t.Errorf("the log contains the password:\n%s", log.String())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
