package testkit

import (
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"testing"
)

// FreePort returns a port that is free now, for servers that restart on the same port.
func FreePort(t testing.TB) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return fmt.Sprint(listener.Addr().(*net.TCPAddr).Port)
}

// LastingPort returns a free port below the range that systems assign (from 32768 on). So no other program gets it
// while the server on this port is replaced.
func LastingPort(t testing.TB) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(10_000 + rand.IntN(20_000))
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", ":"+port)
		if err == nil {
			_ = listener.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return ""
}

// DataDir returns the path of a data directory for a server. The name needs quoting.
func DataDir(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "data of 'a' server")
}
