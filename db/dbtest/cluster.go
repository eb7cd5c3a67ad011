//go:build unix

package dbtest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/db/embedded"
	"cairn/internal/testkit"
)

// Cluster is a PostgreSQL cluster that belongs to one test, which may stop, kill and freeze it. It
// listens on a loopback port and keeps that port for as long as the test lasts.
type Cluster struct {
	t      testing.TB
	tools  embedded.Tools
	data   string
	port   string
	server *exec.Cmd
	log    bytes.Buffer  // of the server; to be read when it has ended
	exited chan struct{} // closed when it has
}

// NewCluster makes a cluster with an empty database "cairn" and starts it. It is removed when the test ends.
func NewCluster(t testing.TB) *Cluster {
	t.Helper()
	c := newCluster(t)
	c.run("initdb", "--pgdata="+c.data, "--no-sync", "--username=cairn", "--auth=trust",
		"--encoding=UTF8", "--locale=C", "--no-instructions")
	c.Start()
	if err := execute(t.Context(), c.url("postgres"), "CREATE DATABASE cairn"); err != nil {
		t.Fatalf("dbtest: create a database: %v", err)
	}
	return c
}

func newCluster(t testing.TB) *Cluster {
	t.Helper()
	tools, err := embedded.FindTools()
	if err != nil {
		t.Fatal(err)
	}
	data, err := tools.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{t: t, tools: tools, data: data, port: testkit.FreePort(t)}
	t.Cleanup(func() {
		c.Thaw()
		c.Stop(syscall.SIGQUIT)
		_ = os.RemoveAll(filepath.Dir(data))
	})
	return c
}

// NewStandby makes a standby that streams from c and starts it.
func (c *Cluster) NewStandby() *Cluster {
	c.t.Helper()
	s := newCluster(c.t)
	s.run("pg_basebackup", "--pgdata="+s.data, "--dbname="+c.url("postgres"),
		"--write-recovery-conf", "--checkpoint=fast", "--no-sync")
	s.Start()
	return s
}

// Promote makes a standby a primary, and returns when that is writable.
func (c *Cluster) Promote() {
	c.t.Helper()
	if err := execute(c.t.Context(), c.URL(), "SELECT pg_promote(true, 30)"); err != nil {
		c.t.Fatalf("dbtest: promote: %v", err)
	}
}

func (c *Cluster) run(program string, args ...string) {
	c.t.Helper()
	if out, err := c.tools.Command(program, args...).CombinedOutput(); err != nil {
		c.t.Fatalf("dbtest: %s: %v\n%s", program, err, out)
	}
}

// Address is the cluster's host and port.
func (c *Cluster) Address() string { return net.JoinHostPort("127.0.0.1", c.port) }

// URL names the database "cairn" for a superuser.
func (c *Cluster) URL() string { return c.url("cairn") }

func (c *Cluster) url(database string) string {
	return "postgres://cairn@" + c.Address() + "/" + database + "?sslmode=disable"
}

// Start starts a server that was stopped and returns when it answers.
func (c *Cluster) Start() {
	c.t.Helper()
	var args []string
	for _, setting := range []string{
		"listen_addresses=127.0.0.1", "port=" + c.port, "unix_socket_directories=",
		"shared_buffers=32MB", "jit=off", "fsync=off",
		"wal_level=replica", "hot_standby=on", "log_min_messages=fatal",
	} {
		args = append(args, "-c", setting)
	}
	c.log.Reset()
	c.server, c.exited = c.tools.Command("postgres", append([]string{"-D", c.data}, args...)...), make(chan struct{})
	c.server.Stdout, c.server.Stderr = &c.log, &c.log
	if err := c.server.Start(); err != nil {
		c.t.Fatalf("dbtest: start PostgreSQL: %v", err)
	}
	go func() { _ = c.server.Wait(); close(c.exited) }()
	for deadline := time.Now().Add(cleanupLimit); !c.answers(); time.Sleep(5 * time.Millisecond) {
		select {
		case <-c.exited:
			c.t.Fatalf("dbtest: PostgreSQL ended at once:\n%s", c.log.String())
		default:
		}
		if time.Now().After(deadline) {
			c.t.Fatal("dbtest: PostgreSQL does not answer")
		}
	}
}

func (c *Cluster) answers() bool {
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.url("postgres"))
	if err != nil {
		return false
	}
	_ = conn.Close(ctx)
	return true
}

// Stop sends the server a signal and waits until it has ended: SIGINT is a fast shutdown, SIGQUIT
// an immediate one, and SIGKILL no shutdown at all.
func (c *Cluster) Stop(signal syscall.Signal) {
	if c.server == nil || c.server.Process == nil {
		return
	}
	_ = c.server.Process.Signal(signal)
	select {
	case <-c.exited:
	case <-time.After(cleanupLimit):
		c.t.Error("dbtest: PostgreSQL does not end")
		_ = c.server.Process.Kill()
	}
}

// Freeze stops the server and its backends in their tracks: connections stay open, and nothing answers, until Thaw.
func (c *Cluster) Freeze() { c.signalAll(syscall.SIGSTOP) }

// Thaw ends a Freeze.
func (c *Cluster) Thaw() { c.signalAll(syscall.SIGCONT) }

// signalAll signals the postmaster first, so that it starts no children afterwards.
func (c *Cluster) signalAll(signal syscall.Signal) {
	if c.server == nil || c.server.Process == nil || c.server.Process.Signal(signal) != nil {
		return
	}
	postmaster := strconv.Itoa(c.server.Process.Pid)
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		c.t.Errorf("dbtest: list PostgreSQL's processes: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		var pid int
		var parent string
		if _, err := fmt.Sscan(line, &pid, &parent); err == nil && parent == postmaster {
			_ = syscall.Kill(pid, signal)
		}
	}
}
