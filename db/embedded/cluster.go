//go:build unix

package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	superuser    = "cairn"
	readyLimit   = time.Minute      // crash recovery may replay a lot
	fastLimit    = 20 * time.Second // a shutdown with its checkpoint
	killLimit    = 5 * time.Second
	orphanLimit  = 10 * time.Second // for backends that outlive a killed postmaster
	crashLoop    = 10 * time.Second // a server that lasts no longer is not started again before crashPause
	crashPause   = time.Second
	logTailLines = 15
)

// cluster is one PostgreSQL cluster and the server that runs on it.
type cluster struct {
	config
	log *slog.Logger
	run string // short directory for sockets

	user    account
	bin     string // directory of initdb and postgres
	data    string // the data directory itself, links resolved
	made    bool   // by this process
	server  *exec.Cmd
	started time.Time
	exited  chan struct{} // closed when the server has ended
}

// open makes the cluster if there is none and starts it.
func (c *cluster) open() error {
	if err := c.prepare(); err != nil {
		return err
	}
	if err := c.start(); err != nil {
		return err
	}
	if c.made && !c.Ephemeral {
		go syscall.Sync() // makes up for initdb's --no-sync, in the background
	}
	return nil
}

// restart is for a server that ended by itself.
func (c *cluster) restart() error {
	c.log.Warn("PostgreSQL stopped by itself, starting it again", "state", c.server.ProcessState.String())
	if time.Since(c.started) < crashLoop {
		time.Sleep(crashPause)
	}
	return c.start()
}

// prepare finds the data directory, the account and the binaries, and creates the cluster if necessary.
func (c *cluster) prepare() (err error) {
	if c.data, err = findData(c.Dir); err != nil {
		return err
	}
	if c.user, err = accountFor(c.Dir, c.data); err != nil {
		return err
	}
	if c.data != "" {
		if err := c.stopOrphan(); err != nil {
			return err
		}
	}
	if c.data != "" && c.Ephemeral {
		if err := c.remove(); err != nil {
			return err
		}
		c.data = ""
	}
	if c.bin, err = findBinaries(c.Search, c.user, c.data); err != nil {
		return err
	}
	if err := c.makeSocketDir(); err != nil {
		return err
	}
	if c.data == "" {
		return c.create()
	}
	return nil
}

// initdb makes a cluster in dir, an empty directory of the cluster's account.
func (c *cluster) initdb(dir string) error {
	cmd := c.user.command(filepath.Join(c.bin, "initdb"), "--pgdata="+dir,
		"--no-sync", "--username="+superuser, "--auth=trust",
		"--encoding=UTF8", "--locale=C", "--no-instructions")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb in %s: %w:\n%s", dir, err, lastLines(string(out)))
	}
	return nil
}

// start runs the server and returns when it answers.
func (c *cluster) start() error {
	for deadline := time.Now().Add(orphanLimit); ; {
		begin := logSize(c.Dir)
		err := c.launch()
		if err == nil {
			return nil
		}
		tail := logTail(c.Dir, begin)
		// Backends of a killed postmaster end by themselves a moment later.
		if !strings.Contains(tail, "is still in use") || time.Now().After(deadline) {
			return fmt.Errorf("start PostgreSQL: %w\n%s", err, tail)
		}
		time.Sleep(10 * pollPause)
	}
}

func (c *cluster) launch() error {
	cmd := c.user.command(filepath.Join(c.bin, "postgres"), append([]string{"-D", c.data}, c.settings()...)...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr // the log, see spawn
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	c.server, c.exited, c.started = cmd, exited, time.Now()

	limit := time.After(readyLimit)
	for {
		if c.answers() {
			return nil
		}
		select {
		case <-exited:
			return fmt.Errorf("it ended at once: %s", cmd.ProcessState)
		case <-limit:
			_ = c.stop(syscall.SIGQUIT)
			return fmt.Errorf("it does not answer after %v", readyLimit)
		case <-time.After(pollPause):
		}
	}
}

func (c *cluster) answers() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := pgconn.Connect(ctx, c.url())
	if err != nil {
		return false
	}
	_ = conn.Close(ctx)
	return true
}

// settings are given on the command line, so that another version of this program can change them.
func (c *cluster) settings() []string {
	values := []string{
		"listen_addresses=",
		"port=5432",
		"unix_socket_directories=" + quoteListItem(c.sockets()),
		"shared_buffers=32MB",
		"wal_level=minimal",
		"max_wal_senders=0",
		"jit=off",
		"timezone=UTC",
		"log_timezone=UTC",
		"logging_collector=off",
		"log_destination=stderr",
	}
	if c.Ephemeral {
		values = append(values, "fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off",
			"max_connections=300", "checkpoint_timeout=1h", "max_wal_size=1GB", "wal_skip_threshold=0")
	} else {
		values = append(values, "max_connections=100", "log_checkpoints=off")
	}
	args := make([]string, 0, 2*len(values))
	for _, value := range append(values, c.Settings...) { // PostgreSQL takes the last of two
		args = append(args, "-c", value)
	}
	return args
}

// quoteListItem writes s as one item of a PostgreSQL list setting.
func quoteListItem(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

func (c *cluster) url() string {
	query := url.Values{"host": {c.sockets()}, "port": {"5432"}, "user": {superuser}, "sslmode": {"disable"}}
	// libpq reads a plus sign as itself.
	return "postgres:///postgres?" + strings.ReplaceAll(query.Encode(), "+", "%20")
}

// close stops the server; an ephemeral cluster's data goes with it.
func (c *cluster) close() error {
	if !c.Ephemeral {
		return c.stop(syscall.SIGINT)
	}
	return errors.Join(c.stop(syscall.SIGQUIT), c.remove())
}

// stop sends signal (SIGINT: fast shutdown with a checkpoint, SIGQUIT: at once), and stronger ones if that has no
// effect.
func (c *cluster) stop(signal syscall.Signal) error {
	for _, step := range []struct {
		signal syscall.Signal
		limit  time.Duration
	}{{signal, fastLimit}, {syscall.SIGQUIT, killLimit}, {syscall.SIGKILL, killLimit}} {
		_ = c.server.Process.Signal(step.signal)
		select {
		case <-c.exited:
			return nil
		case <-time.After(step.limit):
		}
	}
	return errors.New("PostgreSQL cannot be stopped")
}

func logSize(dir string) int64 {
	info, err := os.Stat(filepath.Join(dir, "postgres.log"))
	if err != nil {
		return 0
	}
	return info.Size()
}

// logTail returns the last lines of the log after the position begin, under the log's name.
func logTail(dir string, begin int64) string {
	name := filepath.Join(dir, "postgres.log")
	file, err := os.Open(name)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = file.Close() }()
	size, _ := file.Seek(0, io.SeekEnd)
	begin = max(begin, size-16<<10)
	text, _ := io.ReadAll(io.NewSectionReader(file, begin, size-begin))
	return name + " ends with:\n" + lastLines(string(text))
}

func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-logTailLines):], "\n")
}
