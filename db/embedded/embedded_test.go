//go:build unix

package embedded

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"cairn/internal/testkit"
)

func TestDataSurvivesStop(t *testing.T) {
	t.Parallel()
	dir := newDir(t, false)
	server := start(t, Options{Dir: dir})
	makeNotes(t, server.URL())
	pid := postmaster(t, dir)
	stop(t, server)
	if !gone(pid)() {
		t.Error("PostgreSQL still runs after the last Stop has returned")
	}
	server = start(t, Options{Dir: dir})
	if got := query(t, server.URL(), readNotes); got != "kept" {
		t.Errorf("after a restart the notes are %q", got)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	url := start(t, Options{Dir: newDir(t, false), Settings: []string{"shared_buffers=48MB"}}).URL()
	for name, want := range map[string]string{
		"shared_buffers":     "48MB",
		"fsync":              "on",
		"synchronous_commit": "on",
		"full_page_writes":   "on",
		"listen_addresses":   "",
		"server_encoding":    "UTF8",
		"TimeZone":           "UTC",
	} {
		if got := query(t, url, "SELECT current_setting('"+name+"')"); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
}

func TestProcessesShareOneServer(t *testing.T) {
	t.Parallel()
	dir := newDir(t, false)
	first := startClient(t, dir)
	url := first.says(t)
	server := start(t, Options{Dir: dir})
	if server.URL() != url {
		t.Fatalf("two processes have %s and %s", url, server.URL())
	}
	first.leave(t)
	query(t, server.URL(), "SELECT 'still here'")
	pid := postmaster(t, dir)
	stop(t, server)
	if !gone(pid)() {
		t.Error("PostgreSQL still runs after the last process has left")
	}
}

func TestFiveProcessesStartAtOnce(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	dir := newDir(t, false)
	var clients [5]*client
	for i := range clients {
		clients[i] = startClient(t, dir)
	}
	urls := map[string]int{}
	for _, c := range clients {
		urls[c.says(t)]++
	}
	if len(urls) != 1 {
		t.Errorf("five processes got %v", urls)
	}
	var all sync.WaitGroup
	for _, c := range clients {
		all.Go(func() { c.leave(t) })
	}
	all.Wait()
}

// A process that starts while the last one leaves must not get a server that is stopping.
func TestStartDuringStop(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	dir := newDir(t, false)
	leaving := startClient(t, dir)
	leaving.says(t)
	for range 5 {
		_ = leaving.input.Close()
		coming := startClient(t, dir)
		query(t, coming.says(t), "SELECT 'here'")
		leaving.leave(t)
		leaving = coming
	}
	leaving.leave(t)
}

func TestKilledClientLeavesNothingRunning(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	dir := newDir(t, false)
	victim := startClient(t, dir)
	makeNotes(t, victim.says(t))
	pid := postmaster(t, dir)
	supervisor := parent(t, pid)
	_ = victim.cmd.Process.Kill()
	testkit.Eventually(t, "PostgreSQL is gone", gone(pid))
	testkit.Eventually(t, "the supervisor is gone", gone(supervisor))
	server := start(t, Options{Dir: dir})
	if got := query(t, server.URL(), readNotes); got != "kept" {
		t.Errorf("after a SIGKILL the notes are %q", got)
	}
}

// Ctrl-C reaches every process that the terminal has started, but PostgreSQL must stay: others may hold a lease.
func TestInterruptDoesNotReachPostgres(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	dir := newDir(t, false)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	interrupted := newClient(t, program, dir, &syscall.SysProcAttr{Setpgid: true})
	interrupted.says(t)
	server := start(t, Options{Dir: dir})
	pid := postmaster(t, dir)
	if err := syscall.Kill(-interrupted.cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = interrupted.cmd.Wait()
	query(t, server.URL(), "SELECT 'still here'")
	if now := postmaster(t, dir); now != pid {
		t.Errorf("PostgreSQL was process %d and is now %d", pid, now)
	}
}

func TestKilledClientDuringTheFirstStart(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	dir := newDir(t, false)
	victim := startClient(t, dir)
	testkit.Eventually(t, "a supervisor is at work", func() bool { return !lockFree(dir) })
	_ = victim.cmd.Process.Kill()
	server := start(t, Options{Dir: dir})
	makeNotes(t, server.URL())
}

// A copied directory has the original's link to the lease socket.
func TestCopiedDirectoryIsAnotherDatabase(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	dir, copied := newDir(t, false), newDir(t, false)
	original := start(t, Options{Dir: dir})
	if err := os.Mkdir(copied, 0o755); err != nil {
		t.Fatal(err)
	}
	socket, err := os.Readlink(filepath.Join(dir, "postgres.lease"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(socket, filepath.Join(copied, "postgres.lease")); err != nil {
		t.Fatal(err)
	}
	if start(t, Options{Dir: copied}).URL() == original.URL() {
		t.Error("a copied directory joined the PostgreSQL of the original")
	}
	if start(t, Options{Dir: dir}).URL() != original.URL() {
		t.Error("the original can no longer be joined")
	}
}

func TestKilledSupervisor(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	dir := newDir(t, false)
	server := start(t, Options{Dir: dir})
	makeNotes(t, server.URL())
	former := postmaster(t, dir)
	if err := syscall.Kill(parent(t, former), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	next := start(t, Options{Dir: dir})
	if got := query(t, next.URL(), readNotes); got != "kept" {
		t.Errorf("after its supervisor's SIGKILL the notes are %q", got)
	}
	if !gone(former)() {
		t.Error("the former PostgreSQL still runs")
	}
}

// Where the kernel does not end PostgreSQL together with its supervisor, the next start finds it running.
func TestOrphanIsStopped(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	dir := newDir(t, false)
	server := start(t, Options{Dir: dir})
	makeNotes(t, server.URL())
	stop(t, server)
	orphan := startOrphan(t, dir)
	next := start(t, Options{Dir: dir})
	if got := query(t, next.URL(), readNotes); got != "kept" {
		t.Errorf("after an orphan was found the notes are %q", got)
	}
	if !gone(orphan)() {
		t.Error("the orphan still runs")
	}
}

// startOrphan starts a PostgreSQL in dir that has no supervisor.
func startOrphan(t *testing.T, dir string) int {
	t.Helper()
	run, err := makeRunDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeRunDir(run) })
	dir, err = filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{config: config{Dir: dir}, run: run}
	if err := c.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.server.Process.Kill() })
	return c.server.Process.Pid
}

func TestKilledPostgresComesBack(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	dir := newDir(t, false)
	server := start(t, Options{Dir: dir})
	makeNotes(t, server.URL())
	if err := syscall.Kill(postmaster(t, dir), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the same URL works again, with the data", func() bool {
		got, err := ask(t, server.URL(), readNotes)
		return err == nil && got == "kept"
	})
}

func TestStalePidFile(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	dir := newDir(t, false)
	stop(t, start(t, Options{Dir: dir}))
	data := filepath.Join(dir, "postgres")
	user, err := accountFor(dir, data)
	if err != nil {
		t.Fatal(err)
	}
	// A process of PostgreSQL's own user: PostgreSQL ignores those of others.
	other := user.command("sleep", "600")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Process.Kill(); _ = other.Wait() })
	for name, pid := range map[string]string{
		"number of another process": strconv.Itoa(other.Process.Pid),
		"number of no process":      "4194000",
		"nothing":                   "",
	} {
		content := ""
		if pid != "" {
			content = pid + "\n" + data + "\n1700000000\n5432\n/tmp\n\n  1234567   9999999\nready   \n"
		}
		if err := os.WriteFile(filepath.Join(data, "postmaster.pid"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		server, err := Start(t.Context(), Options{Dir: dir})
		if err != nil {
			t.Errorf("postmaster.pid with %s: %v", name, err)
			continue
		}
		stop(t, server)
	}
	if gone(other.Process.Pid)() {
		t.Error("the other process was killed")
	}
}

func TestEphemeralDataIsGoneAfterTheLastLease(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	dir := newDir(t, false)
	server := start(t, Options{Dir: dir, Ephemeral: true})
	url := server.URL()
	if got := query(t, url, "SELECT current_setting('fsync')"); got != "off" {
		t.Errorf("fsync is %s", got)
	}
	stop(t, server)
	server = start(t, Options{Dir: dir, Ephemeral: true})
	if server.URL() != url {
		t.Error("a test process right after another gets another PostgreSQL")
	}
	stop(t, server)
	testkit.Eventually(t, "the data is gone", func() bool {
		_, err := os.Lstat(filepath.Join(dir, "postgres"))
		return os.IsNotExist(err)
	})
}

func TestWhatCannotStart(t *testing.T) {
	t.Parallel()
	installed := strconv.Itoa(installedMajor(t))
	notInstalled := []string{
		"apt-get install postgresql", "brew install postgresql", "docker compose up", "DATABASE_URL",
	}
	tests := map[string]struct {
		search []string
		data   map[string]string // files in the data directory
		wants  []string
	}{
		"not installed": {search: []string{"/nonexistent"}, wants: notInstalled},
		"other version": {
			data:  map[string]string{"PG_VERSION": "9\n"},
			wants: []string{"made by PostgreSQL 9", "delete the directory"},
		},
		"not a cluster": {
			data:  map[string]string{"holiday.jpg": ""},
			wants: []string{"not a PostgreSQL data directory"},
		},
		"damaged": {
			data:  map[string]string{"PG_VERSION": installed},
			wants: []string{"postgres.log ends with", "postgresql.conf"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := newDir(t, false)
			writeData(t, dir, test.data)
			_, err := Start(t.Context(), Options{Dir: dir, search: test.search})
			if err == nil {
				t.Fatal("it started")
			}
			t.Log(err)
			for _, want := range test.wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not contain %q: %v", want, err)
				}
			}
		})
	}
}

func installedMajor(t *testing.T) int {
	t.Helper()
	bin, err := findBinaries(nil, account{}, "")
	if err != nil {
		t.Fatal(err)
	}
	major, err := majorVersion(bin, account{})
	if err != nil {
		t.Fatal(err)
	}
	return major
}

func writeData(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	data := filepath.Join(dir, "postgres")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	user, err := accountFor(dir, "")
	if err != nil || len(files) == 0 {
		return
	}
	if err := user.mkdir(data); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(data, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
