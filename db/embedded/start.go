//go:build unix

package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	startLimit    = 2 * time.Minute // initdb and crash recovery on a slow machine included
	pollPause     = 10 * time.Millisecond
	spawnAttempts = 3
	oldLogSize    = 10 << 20
)

// config is the configuration of a supervisor, from the process that spawns it.
type config struct {
	Dir       string
	Ephemeral bool
	Settings  []string
	Search    []string
}

// reply is the line that a supervisor sends to each lease holder.
type reply struct {
	URL   string
	Error string
	Lock  string // which lock the supervisor holds, see lockID
}

// Start returns a lease on the PostgreSQL of o.Dir. It creates the cluster and starts PostgreSQL if necessary. ctx
// limits the start only. The program must call Supervise first in main or TestMain.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Dir == "" {
		return nil, errors.New("embedded: no directory given")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	dir, err := makeDir(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Dir = dir
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	return joinOrSpawn(ctx, o)
}

// joinOrSpawn tries to join a supervisor, and to lock the directory and spawn one, in turn until it has joined.
func joinOrSpawn(ctx context.Context, o Options) (*Server, error) {
	began := time.Now()
	for spawned := 0; ctx.Err() == nil; {
		server, err := join(ctx, o.Dir)
		if err != nil {
			return nil, err
		}
		if server != nil {
			o.Log.InfoContext(ctx, "the private PostgreSQL is running", "dir", o.Dir,
				"started", spawned > 0, "after", time.Since(began).Round(time.Millisecond))
			return server, nil
		}
		lock, err := tryLock(o.Dir)
		if err != nil {
			return nil, err
		}
		if lock != nil && spawned == spawnAttempts {
			_ = lock.Close()
			return nil, fmt.Errorf("embedded: the supervisor of PostgreSQL ended at once:\n%s", logTail(o.Dir, 0))
		}
		if lock != nil {
			if err := spawn(o, lock); err != nil {
				return nil, err
			}
			spawned++
		}
		select {
		case <-ctx.Done():
		case <-time.After(pollPause):
		}
	}
	return nil, fmt.Errorf("embedded: wait for PostgreSQL in %s: %w", o.Dir, context.Cause(ctx))
}

// makeDir creates dir if it is missing and returns its absolute path without links. Root lets others enter it, because
// PostgreSQL runs under another account. It refuses a directory that every user can write to.
func makeDir(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("embedded: find the data directory: %w", err)
	}
	mode := fs.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return "", fmt.Errorf("embedded: make the data directory: %w", err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", fmt.Errorf("embedded: find the data directory: %w", err)
	}
	if info, err := os.Stat(dir); err == nil && os.Geteuid() == 0 && info.Mode().Perm()&0o002 != 0 {
		return "", fmt.Errorf("embedded: every user can write to %s, "+
			"and could put a database there for root to run: "+
			"chmod o-w it, or set DATA_DIR to another directory", dir)
	}
	return dir, nil
}

// join takes a lease from the supervisor of dir. It returns nil without an error if there is no supervisor, or if it is
// stopping. It checks who listens: the link of a killed supervisor may lead to another user's socket by now, and that
// user would receive all that is written to PostgreSQL.
func join(ctx context.Context, dir string) (*Server, error) {
	socket, err := os.Readlink(leaseName(dir))
	if err != nil || !isPrivate(dir, filepath.Dir(socket)) {
		return nil, nil
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, nil
	}
	if uid, known := peerOf(conn); known && !mayRun(dir, uid) {
		_ = conn.Close()
		return nil, nil
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })()
	var r reply
	if err := json.NewDecoder(conn).Decode(&r); err != nil || r.Lock != lockID(os.Stat(lockName(dir))) {
		_ = conn.Close() // it is stopping, or dir is a copy and this is the supervisor of the original
		return nil, nil
	}
	if r.Error != "" {
		_ = conn.Close()
		return nil, fmt.Errorf("embedded: %s", r.Error)
	}
	return &Server{url: r.URL, lease: conn}, nil
}

func lockName(dir string) string { return filepath.Join(dir, "postgres.lock") }

func leaseName(dir string) string { return filepath.Join(dir, "postgres.lease") }

// lockID identifies a lock file independently of its name.
func lockID(info fs.FileInfo, err error) string {
	if err != nil {
		return ""
	}
	stat := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}

// tryLock returns the locked file when dir has no supervisor, nil when it has.
func tryLock(dir string) (*os.File, error) {
	name := lockName(dir)
	lock, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrPermission) {
		return nil, foreignOwner(name, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("embedded: open the lock: %w", err)
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return lock, nil
	}
	_ = lock.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		return nil, nil
	}
	return nil, fmt.Errorf("embedded: lock %s: %w", name, err)
}

// spawn runs this program again as the supervisor and passes the lock to it. The supervisor has a session of its own,
// so that the terminal's Ctrl-C does not reach it, and inherits no pipe.
func spawn(o Options, lock *os.File) error {
	defer func() { _ = lock.Close() }()
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("embedded: find this program: %w", err)
	}
	task, err := json.Marshal(config{Dir: o.Dir, Ephemeral: o.Ephemeral, Settings: o.Settings, Search: o.search})
	if err != nil {
		return fmt.Errorf("embedded: write the supervisor's configuration: %w", err)
	}
	log, err := openLog(o.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := &exec.Cmd{
		Path:        program,
		Dir:         "/",
		Args:        []string{supervisorName, string(task)},
		Stdout:      log,
		Stderr:      log,
		ExtraFiles:  []*os.File{lock},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("embedded: start the supervisor: %w", err)
	}
	go func() { _ = cmd.Wait() }() // a long-running server must not collect zombies
	return nil
}

func openLog(dir string) (*os.File, error) {
	name := filepath.Join(dir, "postgres.log")
	if info, err := os.Stat(name); err == nil && info.Size() > oldLogSize {
		_ = os.Rename(name, name+".old")
	}
	log, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrPermission) {
		return nil, foreignOwner(name, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("embedded: open the log: %w", err)
	}
	return log, nil
}
