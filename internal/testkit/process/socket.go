package process

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
)

// Passing makes cmd start a server as systemd does: with open sockets from descriptor 3 on, and with LISTEN_PID and
// LISTEN_FDS in its environment.
func Passing(cmd *exec.Cmd, sockets ...*os.File) *exec.Cmd {
	cmd.Args = append([]string{"/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	cmd.Env = append(cmd.Env, fmt.Sprintf("LISTEN_FDS=%d", len(sockets)))
	cmd.ExtraFiles = sockets
	return cmd
}

// Listening returns a socket that this process keeps open, and the address of the site on it.
func Listening(t *testing.T) (socket *os.File, site string) {
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
