package soak

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"cairn/db/dbtest"
	"cairn/db/embedded"
	"cairn/internal/oauth"
	"cairn/internal/testkit"
	"cairn/internal/testkit/process"
)

// programVariable names the variable with the path of the program.
const programVariable = "CAIRN_TEST_PROGRAM"

func TestMain(m *testing.M) {
	embedded.Supervise()
	flag.Parse()
	if testing.Short() {
		fmt.Println("soak tests take minutes: skipped by -short")
		return
	}
	if measured() {
		fmt.Println("measured at commit", testkit.Commit())
	}
	dir, err := os.MkdirTemp("", "cairn-soak-")
	if err != nil {
		panic(err)
	}
	if err := build(filepath.Join(dir, "server")); err != nil {
		fmt.Fprintln(os.Stderr, "build the server:", err)
		os.Exit(1)
	}
	code := dbtest.Run(m)
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// build builds the test binary of cmd/server, which plays the server with limits from a variable. It has the race
// detector if this test binary has it.
func build(program string) error {
	args := []string{"test", "-c", "-o", program}
	race := debug.BuildSetting{Key: "-race", Value: "true"}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, race) {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "cairn/cmd/server")...)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return err
	}
	return os.Setenv(programVariable, program)
}

// program returns the path of the server under test.
func program() string { return os.Getenv(programVariable) }

func serverCommand(t *testing.T, args []string, env ...string) *exec.Cmd {
	t.Helper()
	l := process.Patient()
	if measured() {
		l = usual()
	}
	return process.Command(t, program(), l, args, env...)
}

// start starts a server and waits until it logs its address.
func start(t *testing.T, env ...string) *process.Process {
	t.Helper()
	return process.Start(t, serverCommand(t, nil, env...))
}

// usual returns the limits of servers whose limits are tested, and of all servers whose figures are printed.
func usual() process.Limits {
	l := process.Limits{Rates: process.Untiring()}
	if !measured() {
		l.Passwords = process.Patient().Passwords
		l.RequestHeader = testkit.Patience // a client may use a spare connection just when the server closes it
	}
	return l
}

// mortal returns the limits of servers that are killed. The others wait for the lease of a dead one, so calls are
// short.
func mortal() process.Limits {
	if measured() {
		return usual()
	}
	l := process.Patient()
	l.Calls = oauth.Limits{Queue: 10 * time.Second}
	return l
}

// pace is the longest time that people look at a page. In make test it leaves the machine to other tests.
func pace(usual time.Duration) time.Duration {
	if measured() {
		return usual
	}
	return 200 * time.Millisecond
}

// measured reports whether to measure the program with its usual limits (make deploy-test,
// make changeover-test, make fault-test).
func measured() bool {
	return os.Getenv("DEPLOY_ROUNDS") != "" || os.Getenv("CHANGEOVER_ROUNDS") != "" || faultTime() > 0
}
