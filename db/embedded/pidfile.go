//go:build unix

package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopOrphan cleans up after a killed supervisor. This process holds the lock, so a PostgreSQL that still runs on the
// data has no supervisor, and is stopped. Another process that has the same number by chance must not prevent the
// start.
func (c *cluster) stopOrphan() error {
	name := filepath.Join(c.data, "postmaster.pid")
	content, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read what the last PostgreSQL left: %w", err)
	}
	pid := pidIn(content)
	if pid == 0 {
		return os.Remove(name) // cut short by a crash; PostgreSQL would refuse to start
	}
	if isServer(pid, c.data) {
		return stopServer(pid, c.data)
	}
	if syscall.Kill(pid, 0) == nil {
		// PostgreSQL takes any process of its user with that number for another server, except its own parent, this
		// process. It reads the shared memory of remaining backends from the other lines, so these stay.
		_, rest, _ := strings.Cut(string(content), "\n")
		return overwrite(name, fmt.Sprintf("%d\n%s", os.Getpid(), rest))
	}
	return nil
}

// overwrite follows no link: the directory belongs to another account when we are root.
func overwrite(name, content string) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_TRUNC|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("correct what the last PostgreSQL left: %w", err)
	}
	_, err = file.WriteString(content)
	return errors.Join(err, file.Close())
}

// pidIn reads the first line of a postmaster.pid; 0 means that it holds none.
func pidIn(content []byte) int {
	line, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		return 0
	}
	return max(pid, -pid) // negative for a standalone backend
}

// running reports whether a PostgreSQL runs on data.
func running(data string) bool {
	content, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	return err == nil && isServer(pidIn(content), data)
}

func stopServer(pid int, data string) error {
	for _, step := range []struct {
		signal syscall.Signal
		limit  time.Duration
	}{{syscall.SIGINT, fastLimit}, {syscall.SIGQUIT, killLimit}} {
		_ = syscall.Kill(pid, step.signal)
		for deadline := time.Now().Add(step.limit); time.Now().Before(deadline); time.Sleep(pollPause) {
			if !isServer(pid, data) {
				return nil
			}
		}
	}
	return fmt.Errorf("a PostgreSQL without supervisor (process %d) runs on %s and cannot be stopped", pid, data)
}

// isServer reports whether process pid is a PostgreSQL server on data. Its backends are not: they rename themselves.
func isServer(pid int, data string) bool {
	if pid <= 1 {
		return false
	}
	args := commandLine(pid)
	return len(args) > 0 && strings.HasSuffix(args[0], "postgres") && slices.Contains(args, data)
}
