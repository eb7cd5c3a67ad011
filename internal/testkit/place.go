package testkit

import (
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"testing"
)

// FreePort returns a port that is free now, for servers that have to come back on the same one.
func FreePort(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return fmt.Sprint(listener.Addr().(*net.TCPAddr).Port)
}

// LastingPort returns a free port below those that systems hand out by themselves (from 32768 on), so that nobody takes
// it while the server of this place is being replaced.
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

// DataDir is a directory for everything a server keeps, with a name that wants quoting.
func DataDir(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "data of 'a' server")
}
