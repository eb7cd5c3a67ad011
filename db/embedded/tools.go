//go:build unix

package embedded

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Tools are PostgreSQL's programs on this machine, for tests that stop, kill or freeze a cluster. They run under the
// same account as with Start.
type Tools struct {
	user account
	bin  string
}

// FindTools finds the newest programs that are recent enough.
func FindTools() (Tools, error) {
	user, err := accountFor("", "")
	if err != nil {
		return Tools{}, fmt.Errorf("embedded: %w", err)
	}
	bin, err := findBinaries(nil, user, "")
	if err != nil {
		return Tools{}, fmt.Errorf("embedded: %w", err)
	}
	program, err := filepath.EvalSymlinks(filepath.Join(bin, "postgres")) // the other programs may have no links there
	if err != nil {
		return Tools{}, fmt.Errorf("embedded: %w", err)
	}
	return Tools{user: user, bin: filepath.Dir(program)}, nil
}

// Command prepares a program of PostgreSQL, such as "postgres", or another one by its absolute path. It ends when this
// process is killed, if the kernel supports that.
func (t Tools) Command(program string, args ...string) *exec.Cmd {
	if !filepath.IsAbs(program) {
		program = filepath.Join(t.bin, program)
	}
	return t.user.command(program, args...)
}

// TempDir makes a directory for a cluster, which the caller removes together with the one it is in.
func (t Tools) TempDir() (string, error) {
	parent, err := makeRunDir()
	if err != nil {
		return "", fmt.Errorf("embedded: %w", err)
	}
	dir := filepath.Join(parent, "data")
	if err := t.user.mkdir(dir); err != nil {
		return "", fmt.Errorf("embedded: make a directory for a cluster: %w", errors.Join(err, os.Remove(parent)))
	}
	return dir, nil
}
