package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"cairn/db/dbtest"
)

// passing makes cmd start a server as systemd does: with open sockets from descriptor 3 on, which
// its environment announces under its own process id.
func passing(cmd *exec.Cmd, sockets ...*os.File) *exec.Cmd {
	cmd.Args = append([]string{"/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	cmd.Env = append(cmd.Env, fmt.Sprintf("LISTEN_FDS=%d", len(sockets)))
	cmd.ExtraFiles = sockets
	return cmd
}

// listening returns a socket that this process holds open, and its address.
func listening(t *testing.T) (socket *os.File, site string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	socket, err = listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return socket, fmt.Sprintf("http://localhost:%d", listener.Addr().(*net.TCPAddr).Port)
}

// One instance on one machine is replaced without a refused connection, because its socket outlives
// it. Nothing stands in front of it: half of the visitors come on a new connection each time, half
// keep theirs.
func TestPassedSocketOutlivesServers(t *testing.T) {
	t.Parallel()
	rounds := deployRounds(t, "DEPLOY_ROUNDS", 2)
	socket, site := listening(t)
	env := []string{
		"DATA_DIR=" + dataDir(t), "PORT=1",
		"DATABASE_URL=" + dbtest.NewPatientURL(t), "SHUTDOWN_DELAY=500ms",
	}
	server := startCommand(t, passing(serverCommand(t, nil, env...), socket))
	if server.url != site {
		t.Fatalf("it listens at %s, want %s", server.url, site)
	}
	kept, fresh := newCrowd(t, newSite(site, true)), newCrowd(t, newSite(site, false))
	for range 4 {
		kept.stay(kept.reads)
		fresh.stay(fresh.reads)
	}
	for round := range 2 * rounds {
		kept.replaced.Add(1)
		fresh.replaced.Add(1)
		old := server
		overlap := round >= rounds // the new one accepts on the same socket before the old one is told to stop
		if overlap {
			server = startCommand(t, passing(serverCommand(t, nil, env...), socket))
		}
		if code := old.end(syscall.SIGTERM); code != 0 {
			t.Errorf("exit code %d, want 0:\n%s", code, old.logged())
		}
		if !overlap {
			server = startCommand(t, passing(serverCommand(t, nil, env...), socket))
		}
	}
	kept.wantNothingNoticed(rounds, "pages")
	fresh.wantNothingNoticed(rounds, "pages")
}

func TestWhatSocketsArePassed(t *testing.T) {
	t.Parallel()
	one, _ := listening(t)
	two, _ := listening(t)
	packets, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = packets.Close() }()
	udp, err := packets.File()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = udp.Close() }()
	for name, sockets := range map[string][]*os.File{"two": {one, two}, "not TCP": {udp}} {
		t.Run(name, func(t *testing.T) {
			cmd := serverCommand(t, nil, "DATA_DIR="+dataDir(t), "PORT=0")
			wantFailure(t, passing(cmd, sockets...), "exactly one is expected")
		})
	}
}
