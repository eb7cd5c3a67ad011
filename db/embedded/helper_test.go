//go:build unix

package embedded

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/internal/testkit"
)

// clientVariable makes this test binary a program that holds a lease on the directory it names until its input ends.
const clientVariable = "EMBEDDED_TEST_CLIENT"

func TestMain(m *testing.M) {
	Supervise()
	if dir := os.Getenv(clientVariable); dir != "" {
		os.Exit(beClient(dir))
	}
	if run := os.Getenv(impostorVariable); run != "" {
		os.Exit(beImpostor(run))
	}
	if err := testkit.UseMemory(); err != nil {
		panic(err)
	}
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // or the race detector keeps each process, and its lock, for a second
	os.Exit(m.Run())
}

func beClient(dir string) int {
	server, err := Start(context.Background(), Options{Dir: dir})
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	fmt.Println(server.URL())
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := server.Stop(); err != nil {
		return 1
	}
	return 0
}

// client is a second process with a lease.
type client struct {
	cmd   *exec.Cmd
	input io.Closer
	lines *bufio.Reader
}

func newClient(t *testing.T, program, dir string, attr *syscall.SysProcAttr) *client {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), clientVariable+"="+dir)
	cmd.SysProcAttr = attr
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return &client{cmd, input, bufio.NewReader(output)}
}

func startClient(t *testing.T, dir string) *client {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, program, dir, nil)
}

// says returns what the client prints when it has its lease: the URL, or an error.
func (c *client) says(t *testing.T) string {
	t.Helper()
	line, err := c.lines.ReadString('\n')
	if err != nil {
		t.Fatalf("the client process said nothing: %v", err)
	}
	rest, _ := io.ReadAll(io.LimitReader(c.lines, int64(c.lines.Buffered())))
	return strings.TrimSpace(line + string(rest))
}

func (c *client) leave(t *testing.T) {
	t.Helper()
	_ = c.input.Close()
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("the client process ended with %v", err)
	}
}

// newDir returns a directory that does not exist yet. Unless it is hidden, root's PostgreSQL can reach it under its own
// account. When the test ends, it waits until no supervisor runs there.
func newDir(t *testing.T, hidden bool) string {
	t.Helper()
	base := t.TempDir()
	mode := os.FileMode(0o755)
	if hidden {
		mode = 0o700
	}
	for _, dir := range []string{base, filepath.Dir(base)} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(base, "some data")
	t.Cleanup(func() { testkit.Eventually(t, "the lock is free", func() bool { return lockFree(dir) }) })
	return dir
}

func lockFree(dir string) bool {
	lock, err := os.OpenFile(filepath.Join(dir, "postgres.lock"), os.O_RDWR, 0)
	if err != nil {
		return true
	}
	defer func() { _ = lock.Close() }()
	return syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

func start(t *testing.T, o Options) *Server {
	t.Helper()
	began := time.Now()
	server, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("start took %v", time.Since(began).Round(time.Millisecond))
	t.Cleanup(func() { _ = server.Stop() })
	return server
}

func stop(t *testing.T, server *Server) {
	t.Helper()
	if err := server.Stop(); err != nil {
		t.Fatalf("stop: %v", err)
	}
}

// query runs one statement on a connection of its own and returns its one value as text.
func query(t *testing.T, url, statement string) string {
	t.Helper()
	value, err := ask(t, url, statement)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func ask(t *testing.T, url, statement string) (value string, err error) {
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(t.Context()) }()
	return value, conn.QueryRow(t.Context(), statement).Scan(&value)
}

const (
	writeNote = "WITH made AS (INSERT INTO notes VALUES ('kept') RETURNING note) SELECT note FROM made"
	readNotes = "SELECT coalesce(string_agg(note, ','), '') FROM notes"
)

func makeNotes(t *testing.T, url string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), "CREATE TABLE notes (note text)"); err != nil {
		t.Fatal(err)
	}
	query(t, url, writeNote)
}

func postmaster(t *testing.T, dir string) int {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, "postgres", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	return pidIn(content)
}

// gone reports whether a process has ended. It may be a zombie.
func gone(pid int) func() bool {
	return func() bool {
		out, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
		return err != nil || strings.HasPrefix(string(out), "Z")
	}
}

func parent(t *testing.T, pid int) int {
	t.Helper()
	out, err := exec.Command("ps", "-o", "ppid=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		t.Fatalf("ask for the parent of process %d: %v", pid, err)
	}
	ppid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	return ppid
}
