// Package embedded runs a private PostgreSQL from the binaries on this machine, so that the server and the tests work
// with nothing configured.
//
//	embedded.go    what callers use: Options, Server
//	start.go       Start: join the supervisor of a directory, or become the one that spawns it
//	supervisor.go  the supervisor, a second process that keeps PostgreSQL for as long as somebody holds a lease
//	cluster.go     one PostgreSQL cluster: initdb, start, recover, stop
//	place.go       where the cluster's files and sockets lie
//	user.go        the unprivileged account PostgreSQL runs under when we are root
//	binaries.go    finding initdb and postgres
//	tools.go       the same programs, for tests with a cluster in their own hands
//	pidfile.go     what a killed predecessor may have left behind
//
// PostgreSQL is nobody's child but the supervisor's. Each process that uses it keeps one connection to the supervisor's
// lease socket; the kernel closes that connection however the process ends, SIGKILL included, and when the last one is
// closed PostgreSQL is stopped. Which process may spawn the supervisor is settled by flock on Dir/postgres.lock: the
// winner hands the locked descriptor down, so the lock lives exactly as long as the supervisor.
//
// In Options.Dir:
//
//	postgres        the data directory, or a link to it where PostgreSQL's account cannot enter Dir
//	postgres.lock   held by the supervisor
//	postgres.lease  link to the supervisor's lease socket, which needs a short path; gone when it has stopped
//	postgres.log    what the supervisor and PostgreSQL have to say
package embedded

import (
	"io"
	"log/slog"
	"net"
	"time"
)

// Options say where the cluster lives and how much it matters.
type Options struct {
	// Dir is made if it is missing. Processes that name the same Dir share one PostgreSQL.
	Dir string
	// Ephemeral is for tests: no durability, many connections, a few seconds' wait for the next process after the last
	// one has gone, and no data kept after that.
	Ephemeral bool
	// Settings are PostgreSQL's, like "shared_buffers=1GB". They override those of this package, which
	// those of ALTER SYSTEM do not, and they count only in the process that starts PostgreSQL.
	Settings []string
	// Log tells when a PostgreSQL is started or joined. Nil is silent.
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

// Stop gives the lease back. When it was the last one, Stop returns after PostgreSQL has stopped, unless the cluster is
// ephemeral: that one waits for a successor.
func (s *Server) Stop() error {
	if half, ok := s.lease.(interface{ CloseWrite() error }); ok {
		// The supervisor closes its end when this lease has no further part in what happens.
		if err := half.CloseWrite(); err == nil {
			_ = s.lease.SetReadDeadline(time.Now().Add(stopLimit))
			_, _ = io.Copy(io.Discard, s.lease)
		}
	}
	return s.lease.Close()
}

// stopLimit bounds the wait for PostgreSQL's shutdown checkpoint.
const stopLimit = 30 * time.Second
