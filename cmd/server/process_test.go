package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
	"cairn/internal/testkit/process"
)

// TestMain lets the test binary play the server, for tests here and in test/soak.
func TestMain(m *testing.M) {
	text := os.Getenv(process.PlaysServer)
	if text == "" {
		dbtest.Main(m)
		return
	}
	program(parseLimits(text))
}

// parseLimits takes those that it knows: a later version, beside which this one runs, may have more.
func parseLimits(text string) (l limits) {
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		panic(err)
	}
	return l
}

// patient returns the limits of servers in tests that are not about limits.
func patient() limits { return limits(process.Patient()) }

// limited returns a variable that gives a server or command these limits instead of the patient ones.
func limited(l limits) string { return process.Limits(l).Variable() }

// serving is a server in this process, because starting a process takes half a second and most tests need none.
type serving struct {
	t     *testing.T
	port  string // its PORT; "0": any
	url   string
	log   testkit.Journal
	stop  context.CancelFunc
	ended chan struct{}
	code  int // the exit code, once it has ended
}

// start starts a server with these variables and waits until it logs its address.
func start(t *testing.T, env ...string) *serving {
	t.Helper()
	s := launch(t, env...)
	s.await()
	return s
}

// launch is start without the wait, so that several servers can start at the same time.
func launch(t *testing.T, env ...string) *serving {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	s := &serving{t: t, port: valueIn(env, "PORT"), stop: stop, ended: make(chan struct{})}
	env = append([]string{"DATA_DIR=" + testkit.DataDir(t)}, env...)
	go func() {
		defer close(s.ended)
		s.code = execute(ctx, env, nil, io.Discard, &s.log)
	}()
	t.Cleanup(func() { stop(); <-s.ended })
	return s
}

func (s *serving) await() {
	s.t.Helper()
	testkit.Eventually(s.t, "the server is ready", func() bool {
		select {
		case <-s.ended:
			s.t.Fatalf("the server ended before it was ready:\n%s", s.logged())
		default:
		}
		s.url = s.log.ReadyAt()
		return s.url != ""
	})
}

// valueIn returns the value of a variable, "" if it is not among env. Of several, the last one counts.
func valueIn(env []string, name string) (value string) {
	for _, variable := range env {
		if text, ok := strings.CutPrefix(variable, name+"="); ok {
			value = text
		}
	}
	return value
}

// end stops the server as SIGTERM does, and returns the exit code that a process would have. Another server can listen
// on its port then.
func (s *serving) end() int {
	s.t.Helper()
	s.stop()
	<-s.ended
	if s.port != "0" {
		testkit.AwaitFree(s.t, s.port)
	}
	return s.code
}

func (s *serving) logged() string { return s.log.String() }

// execute runs the program in this process, and returns the exit code that a process would have.
func execute(ctx context.Context, env, args []string, stdout, stderr io.Writer) int {
	l := patient()
	if text := valueIn(env, process.PlaysServer); text != "" {
		l = parseLimits(text)
	}
	if err := run(ctx, l, args, slices.Concat(process.Surroundings(), env), stdout, stderr); err != nil {
		_, _ = fmt.Fprintln(stderr, "cairn:", err)
		return exitCode(err)
	}
	return 0
}

// call runs a command in this process, and returns what it prints on both outputs and its exit code.
func call(t *testing.T, env []string, args ...string) (out, said string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	env = append([]string{"DATA_DIR=" + testkit.DataDir(t)}, env...)
	code = execute(ctx, env, args, &stdout, &stderr)
	return stdout.String(), stderr.String(), code
}

// commandOutput runs a command, which has to succeed, and returns what it prints.
func commandOutput(t *testing.T, env []string, args ...string) string {
	t.Helper()
	out, said, code := call(t, env, args...)
	if code != 0 {
		t.Fatalf("%v: exit code %d: %s", args, code, said)
	}
	return out
}

// wantFailure runs a command, or the server if args is "", which has to fail and print all of want.
func wantFailure(t *testing.T, env []string, args string, want ...string) {
	t.Helper()
	out, said, code := call(t, env, strings.Fields(args)...)
	if code == 0 {
		t.Fatalf("%s succeeded:\n%s%s", cmp.Or(args, "the server"), out, said)
	}
	for _, text := range want {
		if !strings.Contains(said, text) {
			t.Errorf("%s: %q is missing in:\n%s", cmp.Or(args, "the server"), text, said)
		}
	}
}

// serverCommand returns a command that runs the server as a process of its own.
func serverCommand(t *testing.T, args []string, env ...string) *exec.Cmd {
	t.Helper()
	return process.Command(t, os.Args[0], process.Patient(), args, env...)
}

// startProcess starts a server as a process of its own, for tests that send it signals.
func startProcess(t *testing.T, env ...string) *process.Process {
	t.Helper()
	return process.Start(t, serverCommand(t, nil, env...))
}

// postgresOf returns the process id of the PostgreSQL in a data directory, or 0 if none runs.
func postgresOf(dir string) int {
	text, err := os.ReadFile(filepath.Join(dir, "postgres", "postmaster.pid"))
	if err != nil {
		return 0
	}
	var pid int
	_, _ = fmt.Sscan(cmp.Or(string(text), "0"), &pid)
	if pid <= 0 || syscall.Kill(pid, 0) != nil {
		return 0
	}
	return pid
}
