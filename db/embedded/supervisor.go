//go:build unix

package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

const (
	supervisorName = "cairn-postgres-supervisor" // argv[0], so that it is also what ps shows
	lockDescriptor = 3

	firstLeaseLimit = 5 * time.Second // for the spawning process to take its lease
	ephemeralGrace  = 5 * time.Second // for the next test process to take a lease
)

// Supervise runs the supervisor if Start has spawned this process as one, and then does not return.
func Supervise() {
	if len(os.Args) != 2 || os.Args[0] != supervisorName {
		return
	}
	// PostgreSQL ends with the thread that forked it, so that thread must last.
	runtime.LockOSThread()
	syscall.CloseOnExec(lockDescriptor)
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("supervisor", os.Getpid())
	if err := supervise(os.Args[1], log); err != nil {
		log.Error("PostgreSQL is not running", "error", err)
		os.Exit(1)
	}
	os.Exit(0) // releases the lock, and the last lease holder's Stop
}

// supervisor serves leases on one cluster. Everything but accepting and watching connections happens in one goroutine.
type supervisor struct {
	cluster *cluster
	lock    *os.File
	log     *slog.Logger
	grace   time.Duration
	joins   chan net.Conn
	leaves  chan net.Conn
	signals chan os.Signal
}

func supervise(task string, log *slog.Logger) error {
	var o config
	if err := json.Unmarshal([]byte(task), &o); err != nil {
		return fmt.Errorf("read the supervisor's configuration: %w", err)
	}
	s := &supervisor{
		lock:    os.NewFile(lockDescriptor, lockName(o.Dir)),
		log:     log,
		joins:   make(chan net.Conn),
		leaves:  make(chan net.Conn),
		signals: make(chan os.Signal, 1),
	}
	if o.Ephemeral {
		s.grace = ephemeralGrace
	}
	signal.Notify(s.signals, syscall.SIGTERM, syscall.SIGINT)
	run, err := makeRunDir()
	if err != nil {
		return err
	}
	defer removeRunDir(run)
	listener, err := listen(o.Dir, run)
	if err != nil {
		return err
	}
	go s.accept(listener)

	s.cluster = &cluster{config: o, run: run, log: log}
	if err := s.cluster.open(); err != nil {
		s.refuse(err)
		unpublish(o.Dir, run)
		return err
	}
	err = s.serve()
	_ = listener.Close() // processes that connect now start over when the lock is free
	unpublish(o.Dir, run)
	return errors.Join(err, s.cluster.close())
}

// listen opens the lease socket and publishes it, replacing what a predecessor published.
func listen(dir, run string) (net.Listener, error) {
	socket := filepath.Join(run, "lease")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("listen for lease holders: %w", err)
	}
	link := leaseName(dir)
	if former, err := os.Readlink(link); err == nil && isPrivate(dir, filepath.Dir(former)) {
		if conn, err := net.Dial("unix", former); err == nil {
			_ = conn.Close() // of a supervisor whose directory was copied to make ours
		} else {
			removeRunDir(filepath.Dir(former))
		}
	}
	_ = os.Remove(link)
	if err := os.Symlink(socket, link); err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("publish the lease socket: %w", err)
	}
	return listener, nil
}

// unpublish removes the link to the lease socket, whose path any process may use afterwards.
func unpublish(dir, run string) {
	link := leaseName(dir)
	if socket, err := os.Readlink(link); err == nil && filepath.Dir(socket) == run {
		_ = os.Remove(link)
	}
}

func (s *supervisor) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(pollPause) // out of descriptors, for example
			continue
		}
		s.joins <- conn
	}
}

// serve gives out leases until none is held.
func (s *supervisor) serve() error {
	leases := 0
	var last net.Conn // of the process that waits for PostgreSQL to stop
	idle := time.NewTimer(firstLeaseLimit)
	for {
		select {
		case conn := <-s.joins:
			leases++
			idle.Stop()
			if last != nil {
				_ = last.Close()
			}
			if err := s.send(conn, reply{URL: s.cluster.url()}); err != nil {
				s.log.Info("a process left before it had its lease", "error", err)
			}
			go s.watch(conn)
		case conn := <-s.leaves:
			leases--
			if leases == 0 {
				idle.Reset(s.grace)
			}
			if leases > 0 || s.grace > 0 {
				_ = conn.Close()
			} else {
				last = conn // our exit closes it, which tells Stop that PostgreSQL has stopped
			}
		case <-s.cluster.exited:
			if err := s.cluster.restart(); err != nil {
				return err
			}
		case <-idle.C:
			return nil
		case <-s.signals:
			return nil
		}
	}
}

// watch waits for the end of a lease: holders never send anything.
func (s *supervisor) watch(conn net.Conn) {
	_, _ = io.Copy(io.Discard, conn)
	s.leaves <- conn
}

// refuse sends the reason to the processes that wait for a lease.
func (s *supervisor) refuse(reason error) {
	limit := time.After(firstLeaseLimit)
	for sent := false; ; sent = true {
		if sent {
			limit = time.After(pollPause)
		}
		select {
		case conn := <-s.joins:
			_ = s.send(conn, reply{Error: reason.Error()})
			_ = conn.Close()
		case <-limit:
			return
		}
	}
}

func (s *supervisor) send(conn net.Conn, r reply) error {
	r.Lock = lockID(s.lock.Stat())
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
	return json.NewEncoder(conn).Encode(r)
}
