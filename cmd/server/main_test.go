package main

import (
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
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
	dir := dataDir(t)
	env := []string{"DATA_DIR=" + dir, "PORT=" + freePort(t)}
	server := start(t, env...)
	b := newBrowser(t)
	b.signUp(server.url, "ada@example.org")
	for _, provider := range []string{"garmin", "foursquare", "strava"} {
		b.connect(server.url, provider, "ada")
	}
	for _, tt := range []struct {
		signal syscall.Signal
		code   int
	}{{syscall.SIGTERM, 0}, {syscall.SIGINT, 0}, {syscall.SIGKILL, -1}, {syscall.SIGKILL, -1}} {
		if code := server.end(tt.signal); code != tt.code {
			t.Errorf("after %v it exited with %d, want %d:\n%s", tt.signal, code, tt.code, server.logged())
		}
		testkit.Eventually(t, "PostgreSQL has stopped too", func() bool { return postgresOf(dir) == 0 })
		server = start(t, env...)
		b.wantConnected(server.url, 3)
	}
	b.check(server.url, "strava")
	for _, secret := range []string{"granite", "state=", "code="} {
		if strings.Contains(server.logged(), secret) {
			t.Errorf("the log tells %q", secret)
		}
	}
}

// Two servers on one data directory, and later on one database of the operator's, are one site.
func TestTwoInstances(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	for name, env := range map[string][]string{
		"private database": {"DATA_DIR=" + dir, "PORT=0"},
		"DATABASE_URL":     {"DATA_DIR=" + dir, "PORT=0", "DATABASE_URL=" + dbtest.NewPatientURL(t)},
	} {
		t.Run(name, func(t *testing.T) {
			one, two := start(t, env...), start(t, env...)
			b := newBrowser(t)
			b.signUp(one.url, "ada@example.org")
			b.wantConnected(two.url, 0)
			b.connect(two.url, "strava", "moss")
			b.wantConnected(one.url, 1)
			one.end(syscall.SIGKILL)
			b.wantConnected(two.url, 1)
			one = start(t, env...)
			b.do(http.MethodPost, two.url+"/logout", url.Values{})
			if _, page := b.do(http.MethodGet, one.url+"/", nil); page.Find("header a[href='/account']").Length() != 0 {
				t.Error("signed out on one, still signed in on the other")
			}
		})
	}
}

// A server that is told to stop finishes what it has begun.
func TestStopFinishesRequestsInFlight(t *testing.T) {
	t.Parallel()
	address := dbtest.NewPatientURL(t)
	server := start(t, "DATA_DIR="+dataDir(t), "PORT=0", "DATABASE_URL="+address)
	b := newBrowser(t)
	b.signUp(server.url, "ada@example.org")
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
		status, _ := b.do(http.MethodGet, server.url+"/api/auth/me", nil)
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
	if err := server.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
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
	<-server.done
	if code := server.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d, want 0:\n%s", code, server.logged())
	}
}

func TestFiveInstancesStartAtOnceOnAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	env := []string{"DATA_DIR=" + dataDir(t), "PORT=0", "DATABASE_URL=" + dbtest.NewEmptyURL(t)}
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
		if out, err := serverCommand(t, []string{"migrate"}, "DATABASE_URL="+address).CombinedOutput(); err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
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
	taken := start(t, "DATA_DIR="+dataDir(t), "PORT=0", "DATABASE_URL="+dbtest.NewPatientURL(t))
	_, port, _ := strings.Cut(strings.TrimPrefix(taken.url, "http://"), ":")
	tests := []struct {
		name string
		args []string
		env  []string
		want []string
	}{
		{"usage", []string{"server"}, nil, []string{`there is no command "server"; see: server help`}},
		{"port taken", nil, []string{"PORT=" + port}, []string{"PORT " + port}},
		{"no PostgreSQL", nil, []string{"PORT=0", "PATH=/nowhere", "DATA_DIR=" + dataDir(t)}, nil},
		{"several at once", nil, []string{"PORT=x", "ENCRYPTION_KEY=12", "SESSION_SECRET=short", "NODE_ENV=production"},
			[]string{"PORT", "ENCRYPTION_KEY", "SESSION_SECRET", "PUBLIC_URL", "DATABASE_URL"}},
		{"wrong password", nil,
			[]string{"PORT=0", "DATABASE_URL=postgres://nobody:hunter2@127.0.0.1:1/x?connect_timeout=1"}, nil},
	}
	for _, tt := range tests[:2] {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wantFailure(t, serverCommand(t, tt.args, tt.env...), tt.want...)
		})
	}
	t.Run(tests[3].name, func(t *testing.T) {
		t.Parallel()
		wantFailure(t, serverCommand(t, nil, tests[3].env...), tests[3].want...)
	})
}

func wantFailure(t *testing.T, cmd *exec.Cmd, want ...string) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("it ended well:\n%s", out)
	}
	for _, text := range want {
		if !strings.Contains(string(out), text) {
			t.Errorf("%q is missing in:\n%s", text, out)
		}
	}
}

// A database that is down is waited for, and the log says so without telling how to get in.
func TestDatabaseThatComesLater(t *testing.T) {
	t.Parallel()
	cmd := serverCommand(t, nil, "PORT=0", "DATA_DIR="+dataDir(t),
		"DATABASE_URL=postgres://ada:hunter2hunter2@127.0.0.1:1/cairn")
	var out strings.Builder
	var mu sync.Mutex
	cmd.Stderr = writerFunc(func(p []byte) (int, error) { mu.Lock(); defer mu.Unlock(); return out.Write(p) })
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text := func() string { mu.Lock(); defer mu.Unlock(); return out.String() }
	testkit.Eventually(t, "it says that it waits", func() bool { return strings.Contains(text(), "127.0.0.1:1") })
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		t.Error("it can't be interrupted while it waits")
	}
	if strings.Contains(text(), "hunter2") {
		t.Errorf("the log tells the password:\n%s", text())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestSecretsAreMadeOnceAndKept(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	var made [8]Config
	var wg sync.WaitGroup
	for i := range made {
		wg.Go(func() {
			var err error
			if made[i], err = withSecrets(Config{DataDir: dir}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, config := range made {
		if config.SessionSecret != made[0].SessionSecret || len(config.SessionSecret) < 32 ||
			string(config.EncryptionKeys[0]) != string(made[0].EncryptionKeys[0]) {
			t.Fatal("servers that start at once have different secrets")
		}
	}
	info, err := os.Stat(filepath.Join(dir, "secrets.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, error %v; want 0600", info.Mode(), err)
	}
	if err := os.WriteFile(filepath.Join(dir, "secrets.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := withSecrets(Config{DataDir: dir}); err == nil {
		t.Error("a damaged file was accepted")
	}
}
