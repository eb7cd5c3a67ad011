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

// programVariable names the program for the tests.
const programVariable = "CAIRN_TEST_PROGRAM"

func TestMain(m *testing.M) {
	embedded.Supervise()
	flag.Parse()
	if testing.Short() {
		fmt.Println("soak tests take minutes: skipped by -short")
		return
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

// build builds the tests of cmd/server, which play the server with limits that it is given. It has the race detector
// if these tests have it.
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

// program is the server that is tested.
func program() string { return os.Getenv(programVariable) }

func serverCommand(t *testing.T, args []string, env ...string) *exec.Cmd {
	t.Helper()
	l := process.Patient()
	if measured() {
		l = usual()
	}
	return process.Command(t, program(), l, args, env...)
}

// start starts a server and waits until it says where it is.
func start(t *testing.T, env ...string) *process.Process {
	t.Helper()
	return process.Start(t, serverCommand(t, nil, env...))
}

// usual are the limits of servers in tests that look how they keep them, and of all whose figures are printed.
func usual() process.Limits {
	l := process.Limits{Rates: process.Untiring()}
	if !measured() {
		l.Passwords = process.Patient().Passwords
		l.RequestHeader = testkit.Patience // a client may come to a spare connection just when the server gives it up
	}
	return l
}

// mortal are the limits of servers that are killed: what one held,
// others take over when a few calls could have been made.
func mortal() process.Limits {
	if measured() {
		return usual()
	}
	l := process.Patient()
	l.Calls = oauth.Limits{Queue: 10 * time.Second}
	return l
}

// measured tells whether figures are wanted, as make deploy-test and make fault-test print them:
// of the program as it is.
func measured() bool { return os.Getenv("DEPLOY_ROUNDS") != "" || faultTime() > 0 }
