package main

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"cairn/internal/testkit"
)

// ordinary makes a command run as an ordinary user who can reach the database: if we are root, as the owner of the
// database's socket directory.
func ordinary(t *testing.T, database string) (attr *syscall.SysProcAttr, uid int) {
	t.Helper()
	uid = os.Geteuid()
	if uid != 0 {
		return nil, uid
	}
	uid = 65534
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(u.Query().Get("host")); err == nil {
		uid = int(info.Sys().(*syscall.Stat_t).Uid)
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}, uid
}

// A command that takes messages sees no secrets, neither in its own environment nor in its parent's.
func TestCommandSeesNoSecrets(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	b := newBreaks(t)
	b.crowd()
	i := slices.IndexFunc(b.env, func(variable string) bool { return strings.HasPrefix(variable, "DATABASE_URL=") })
	database := strings.TrimPrefix(b.env[i], "DATABASE_URL=")
	attr, uid := ordinary(t, database)
	dir, err := os.MkdirTemp("", "cairn-notices-") // t.TempDir is closed to that user
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	program := filepath.Join(dir, "server")
	if out, err := exec.Command("cp", os.Args[0], program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pushSecret := filepath.Join(dir, "push-secret")
	for _, err := range []error{os.WriteFile(pushSecret, []byte("hunter2"), 0o600), os.Chown(pushSecret, uid, -1),
		os.Chmod(dir, 0o755), os.Chown(dir, uid, -1)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	spy := `env > own; cat /proc/$PPID/environ > parents 2> why; head -c 1 /proc/$PPID/mem 2>> why; cat > message`
	cmd := serverCommand(t, []string{"notices", "--each", spy}, b.env...)
	cmd.Path, cmd.Dir, cmd.SysProcAttr = program, dir, attr
	cmd.Env = append(cmd.Env, "FOURSQUARE_PUSH_SECRET_FILE="+pushSecret)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if !strings.Contains(read("message"), "To: ") || !strings.Contains(read("own"), "SMTP_PASSWORD=") {
		t.Error("the command lacks what it needs")
	}
	for _, file := range []string{"own", "parents"} {
		for _, secret := range []string{database, "DATABASE_URL", "CLIENT_SECRET", "PUSH_SECRET"} {
			if strings.Contains(read(file), secret) {
				t.Errorf("%s contains %s", file, secret)
			}
		}
	}
	if why := read("why"); strings.Count(why, "Permission denied") != 2 {
		t.Errorf("it can read its parent's environment or memory: %q", why)
	}
}
