//go:build unix

package embedded

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"cairn/internal/testkit"
)

// impostorVariable makes this test binary a program that listens in the directory it names, as a supervisor would.
const impostorVariable = "EMBEDDED_TEST_IMPOSTOR"

const impostorURL = "postgres:///postgres?host=/somebody/elses"

// beImpostor gives every client a lease on a PostgreSQL of its own. It knows the lock, which every user can see.
func beImpostor(run string) int {
	listener, err := net.Listen("unix", filepath.Join(run, "lease"))
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	if err := os.Chmod(filepath.Join(run, "lease"), 0o777); err != nil {
		return 1
	}
	fmt.Println("listening")
	for {
		conn, err := listener.Accept()
		if err != nil {
			return 1
		}
		lock := lockID(os.Stat(lockName(os.Getenv("EMBEDDED_TEST_DIR"))))
		_ = json.NewEncoder(conn).Encode(reply{URL: impostorURL, Lock: lock})
	}
}

func TestStopLeavesNoLink(t *testing.T) {
	t.Parallel()
	dir := newDir(t, false)
	stop(t, start(t, Options{Dir: dir}))
	if to, err := os.Readlink(leaseName(dir)); err == nil {
		t.Errorf("the link is still there, and leads to %s, which any user can create", to)
	}
}

// If another user puts a socket in the place of a killed supervisor's, we don't use it, whether the directory is theirs
// or ours.
func TestImpostorIsNotUsed(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	needRoot(t)
	nobody := accountOf(65534, 65534)
	program := copyOfThisProgram(t)
	for name, mode := range map[string]os.FileMode{
		"their directory": 0o700, "our directory, which they can write to": 0o777, "our directory": 0o755,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := newDir(t, false)
			server := start(t, Options{Dir: dir})
			makeNotes(t, server.URL())
			stop(t, server)
			run, err := os.MkdirTemp("/tmp", "cairn-impostor-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(run) })
			_ = os.Remove(leaseName(dir))
			for _, err := range []error{os.Chmod(run, 0o777), os.Symlink(filepath.Join(run, "lease"), leaseName(dir))} {
				if err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command(program)
			cmd.Env = append(os.Environ(), impostorVariable+"="+run, "EMBEDDED_TEST_DIR="+dir)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: nobody.credential}
			output, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
			said := make([]byte, 64)
			if n, _ := output.Read(said); !strings.HasPrefix(string(said[:n]), "listening") {
				t.Fatalf("the impostor says %q", said[:n])
			}
			if mode == 0o700 {
				err = os.Chown(run, 65534, 65534)
			}
			if err := os.Chmod(run, mode); err != nil {
				t.Fatal(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			server = start(t, Options{Dir: dir})
			if server.URL() == impostorURL {
				t.Fatal("the PostgreSQL of another user was taken for ours")
			}
			if got := query(t, server.URL(), readNotes); got != "kept" {
				t.Errorf("the notes are %q", got)
			}
			stop(t, server)
		})
	}
}

func TestRootRefusesAWorldWritableDirectory(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	needRoot(t)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o1777); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "every user can write to "+dir) {
		t.Errorf("got %v", err)
	}
}
