package testkit

import (
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
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
			if listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", ":"+port); err == nil {
				_ = listener.Close()
				return port
			}
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
