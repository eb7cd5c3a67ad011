// Package embedded runs a private PostgreSQL from the binaries on this machine, so that the server and the tests work
// with nothing configured.
//
//	embedded.go    what callers use: Options, Server
//	start.go       Start: join the supervisor of a directory, or become the one that spawns it; start_other.go fails
//	supervisor.go  the supervisor, a second process that runs PostgreSQL as long as a lease is held
//	cluster.go     one PostgreSQL cluster: initdb, start, recover, stop
//	datadir.go     the directories of the cluster's files and sockets
//	user.go        the unprivileged account PostgreSQL runs under when we are root
//	binaries.go    finding initdb and postgres
//	tools.go       the same programs, for tests that run a cluster themselves
//	process_*.go   what each operating system says about a process
//	pidfile.go     what a killed supervisor may have left behind
//
// PostgreSQL is a child of the supervisor. Each process that uses it has a connection to the supervisor's lease socket.
// The kernel closes that connection when the process ends, even by SIGKILL. When the last one is closed, the supervisor
// stops PostgreSQL. A process has to lock Dir/postgres.lock (flock) to spawn the supervisor, which inherits the locked
// descriptor, so the lock is held exactly as long as the supervisor runs.
//
// In Options.Dir:
//
//	postgres        the data directory, or a link to it where PostgreSQL's account cannot enter Dir
//	postgres.lock   held by the supervisor
//	postgres.lease  link to the supervisor's lease socket, which needs a short path; gone when it has stopped
//	postgres.log    the log of the supervisor and PostgreSQL
package embedded

import (
	"io"
	"log/slog"
	"net"
	"time"
)

// Options configure a cluster.
type Options struct {
	// Dir is created if it is missing. Processes that name the same Dir share one PostgreSQL.
	Dir string
	// Ephemeral is for tests: no durability, many connections, a few seconds' wait for another process after the last
	// one, and no data after that.
	Ephemeral bool
	// Settings are PostgreSQL's, like "shared_buffers=1GB". They override those of this package, and those of ALTER
	// SYSTEM, too. They have an effect only in the process that starts PostgreSQL.
	Settings []string
	// Log logs that a PostgreSQL was started or joined. May be nil.
	Log *slog.Logger

	// search lists directories and glob patterns where binaries may be; nil means PATH and the well-known places.
	search []string
}

// Server is this process's lease on a running PostgreSQL.
type Server struct {
	url   string
	lease net.Conn
}

// URL is a connection URL over a Unix socket for a superuser of the cluster, good until Stop.
func (s *Server) URL() string { return s.url }

// Stop returns the lease. If it was the last one, Stop returns after PostgreSQL has stopped, unless the cluster is
// ephemeral, which waits for another process.
func (s *Server) Stop() error {
	if half, ok := s.lease.(interface{ CloseWrite() error }); ok {
		// The supervisor closes its end when this lease has ended, and after PostgreSQL if it was the last one.
		if err := half.CloseWrite(); err == nil {
			_ = s.lease.SetReadDeadline(time.Now().Add(stopLimit))
			_, _ = io.Copy(io.Discard, s.lease)
		}
	}
	return s.lease.Close()
}

// stopLimit limits the wait for PostgreSQL's shutdown checkpoint.
const stopLimit = 30 * time.Second
