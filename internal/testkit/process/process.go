// Package process runs servers in processes of their own, for tests in cmd/server and test/soak.
//
//	process.go    a process that plays the server
//	limits.go     its limits, which suit a busy machine
//	providers.go  simulated providers that outlive servers
//	socket.go     passing sockets to a server
package process

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"cairn/internal/testkit"
)

// PlaysServer names the variable that makes the test binary of cmd/server play the server. Its value is limits as JSON.
// So tests run the whole program in processes that they can kill.
const PlaysServer = "CAIRN_TEST_PLAYS_SERVER"

// Process is a running server.
type Process struct {
	*exec.Cmd
	URL  string
	Done chan struct{} // closed when it has exited

	t   *testing.T
	log testkit.Journal
}

// Command returns a command that plays the server, with these variables and none of the test's own.
func Command(t *testing.T, program string, l Limits, args []string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = t.TempDir() // so that it reads no .env here
	// By default, a program with the race detector sleeps for a second before it exits.
	cmd.Env = slices.Concat([]string{l.Variable(), "GORACE=atexit_sleep_ms=50"}, Surroundings(), env)
	return cmd
}

// Surroundings returns the variables that every program needs. Without GOCOVERDIR, a program that counts what tests
// reach (make cover) writes a warning.
func Surroundings() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir(),
		"GOCOVERDIR=" + os.Getenv("GOCOVERDIR")}
}

// Start starts a server and waits until it logs its address.
func Start(t *testing.T, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{t: t, Cmd: cmd, Done: make(chan struct{})}
	stderr, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan string, 1)
	go p.read(stderr, ready)
	t.Cleanup(func() { _ = p.Cmd.Process.Kill(); <-p.Done })
	select {
	case p.URL = <-ready:
	case <-p.Done:
		t.Fatalf("the server ended before it was ready:\n%s", p.Logged())
	case <-time.After(testkit.Patience):
		t.Fatalf("the server is not ready:\n%s", p.Logged())
	}
	return p
}

func (p *Process) read(stderr io.Reader, ready chan<- string) {
	defer close(p.Done)
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		_, _ = p.log.Write(append(lines.Bytes(), '\n'))
		if address, ok := testkit.ReadyAt(lines.Text()); ok {
			ready <- address
		}
	}
	_ = p.Wait()
}

// Logged returns what it has logged so far.
func (p *Process) Logged() string { return p.log.String() }

// Signal sends a signal.
func (p *Process) Signal(signal syscall.Signal) {
	p.t.Helper()
	if err := p.Cmd.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
}

// End sends a signal, waits for the exit and returns the exit code (-1 after a kill).
func (p *Process) End(signal syscall.Signal) int {
	p.t.Helper()
	p.Signal(signal)
	select {
	case <-p.Done:
	case <-time.After(testkit.Patience):
		p.t.Fatalf("the server did not end:\n%s", p.Logged())
	}
	return p.ProcessState.ExitCode()
}
