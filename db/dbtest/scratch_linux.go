package dbtest

import (
	"os"
	"syscall"
)

// memory is a file system that is kept in memory, and enough is how much of it has to be free.
const memory, enough = "/dev/shm", 4 << 30

// scratch returns a directory for files that need not outlive the tests, in memory if there is room. A database has
// three hundred files; on a disk, making them takes longer than the tests.
func scratch() string {
	var free syscall.Statfs_t
	if err := syscall.Statfs(memory, &free); err != nil || free.Bavail*uint64(free.Bsize) < enough {
		return os.TempDir()
	}
	return memory
}
