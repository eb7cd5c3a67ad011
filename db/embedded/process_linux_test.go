package embedded

import (
	"syscall"
	"testing"

	"cairn/internal/testkit"
)

func TestPostgresGoesWithItsKilledSupervisor(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	dir := newDir(t, false)
	start(t, Options{Dir: dir})
	pid := postmaster(t, dir)
	if err := syscall.Kill(parent(t, pid), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "PostgreSQL is gone", gone(pid))
	start(t, Options{Dir: dir}) // removes the sockets that were left
}
