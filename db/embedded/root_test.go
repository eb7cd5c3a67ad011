//go:build unix

package embedded

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"cairn/internal/testkit"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root's PostgreSQL runs under another account")
	}
}

// dataOf returns the data directory of dir with links resolved, and removes it after the test.
func dataOf(t *testing.T, dir string) string {
	t.Helper()
	target, err := os.Readlink(filepath.Join(dir, "postgres"))
	if err != nil {
		t.Fatalf("the data is not elsewhere: %v", err)
	}
	where := filepath.Dir(target)
	t.Cleanup(func() { _ = os.RemoveAll(where) })
	return where
}

func TestRootInAPrivateDirectory(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	needRoot(t)
	dir := newDir(t, true)
	server := start(t, Options{Dir: dir})
	first := dataOf(t, dir)
	makeNotes(t, server.URL())
	stop(t, server)

	t.Log("the directory is moved")
	moved := dir + " moved"
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	server = start(t, Options{Dir: moved})
	if got := query(t, server.URL(), readNotes); got != "kept" {
		t.Errorf("in a moved directory the notes are %q", got)
	}

	t.Log("a copy has the same link")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(first, "postgres"), filepath.Join(dir, "postgres")); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "was copied from "+moved) {
		t.Errorf("start in a copy: %v", err)
	}
	stop(t, server)

	t.Log("the directory is deleted")
	if err := os.RemoveAll(moved); err != nil {
		t.Fatal(err)
	}
	server = start(t, Options{Dir: moved})
	second := dataOf(t, moved)
	if _, err := ask(t, server.URL(), readNotes); err == nil {
		t.Error("the notes outlived their directory")
	}
	stop(t, server)
	if second == first {
		t.Error("a new start used the cluster of a deleted directory")
	}
	if _, err := os.Stat(first); !os.IsNotExist(err) {
		t.Errorf("the cluster of a deleted directory is still there: %v", err)
	}

	t.Log("what the link leads to is deleted")
	if err := os.RemoveAll(second); err != nil {
		t.Fatal(err)
	}
	stop(t, start(t, Options{Dir: moved}))
	third := dataOf(t, moved)

	t.Log("a temporary directory is deleted for good")
	if err := os.RemoveAll(moved); err != nil {
		t.Fatal(err)
	}
	stop(t, start(t, Options{Dir: dir + " elsewhere"}))
	dataOf(t, dir+" elsewhere")
	if _, err := os.Stat(third); !os.IsNotExist(err) {
		t.Errorf("the cluster of a deleted temporary directory is still there: %v", err)
	}
}

func TestOrdinaryUser(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	needRoot(t)
	nobody := accountOf(65534, 65534)
	attr := &syscall.SysProcAttr{Credential: nobody.credential}
	program := copyOfThisProgram(t)

	t.Run("in a directory of their own", func(t *testing.T) {
		t.Parallel()
		dir := newDir(t, false)
		if err := nobody.mkdir(dir); err != nil {
			t.Fatal(err)
		}
		client := newClient(t, program, dir, attr)
		url := client.says(t)
		makeNotes(t, url)
		if server := start(t, Options{Dir: dir}); server.URL() != url {
			t.Error("root does not share the server of an ordinary user")
		} else {
			stop(t, server)
		}
		client.leave(t)
		server := start(t, Options{Dir: dir}) // now root's supervisor runs it, as the user the data belongs to
		if got := query(t, server.URL(), readNotes); got != "kept" {
			t.Errorf("when root follows an ordinary user the notes are %q", got)
		}
		stop(t, server)
		client = newClient(t, program, dir, attr)
		query(t, client.says(t), readNotes)
		client.leave(t)
	})
	t.Run("in a directory that root has used", func(t *testing.T) {
		t.Parallel()
		dir := newDir(t, false)
		stop(t, start(t, Options{Dir: dir}))
		says := newClient(t, program, dir, attr).says(t)
		for _, want := range []string{"belongs to user root", "runs as user nobody", "DATA_DIR"} {
			if !strings.Contains(says, want) {
				t.Errorf("the error does not contain %q: %s", want, says)
			}
		}
	})
}

// copyOfThisProgram returns a copy that every user may run: go test builds in a private directory.
func copyOfThisProgram(t *testing.T) string {
	t.Helper()
	base := t.TempDir()
	if err := os.Chmod(filepath.Dir(base), 0o755); err != nil {
		t.Fatal(err)
	}
	from, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = source.Close() }()
	// A process forked while the copy is open for writing would make it "text file busy".
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	target, err := os.OpenFile(filepath.Join(base, "program"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(target, source); err != nil {
		t.Fatal(err)
	}
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
	return target.Name()
}
