package testkit

import (
	"errors"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// FreePort returns a port for a server that the test starts, or starts again. It is below the range that systems assign
// (from 32768 on), so nobody gets it by chance. A UDP socket on the same number reserves it until the test ends, so no
// other test gets it either, in this process or another.
func FreePort(t testing.TB) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(10_000 + rand.IntN(20_000))
		if reserved, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:"+port); err == nil {
			t.Cleanup(func() { _ = reserved.Close() })
			if isFree(t, port) {
				return port
			}
		}
	}
	t.Fatal("no free port")
	return ""
}

// AwaitFree waits until nobody listens on a port. A process that is being started has the sockets of the one that
// starts it until its program runs. So the port of a server that has ended in this process may stay taken for a moment.
func AwaitFree(t testing.TB, port string) {
	t.Helper()
	Eventually(t, "port "+port+" is free", func() bool { return isFree(t, port) })
}

// isFree asks by connecting: a socket that listens could be left behind as above.
func isFree(t testing.TB, port string) bool {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
	if err == nil {
		_ = conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// DataDir returns the path of a data directory for a server. The name needs quoting.
func DataDir(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "data of 'a' server")
}
