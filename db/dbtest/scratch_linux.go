package dbtest

import (
	"os"
	"syscall"
)

// memory is a file system that is kept in memory, and enough is how much of it has to be free.
const memory, enough = "/dev/shm", 4 << 30

// scratch returns the directory for what need not outlive the tests: making a database makes three hundred files, which
// costs a disk more than the tests do.
func scratch() string {
	var free syscall.Statfs_t
	if err := syscall.Statfs(memory, &free); err != nil || free.Bavail*uint64(free.Bsize) < enough {
		return os.TempDir()
	}
	return memory
}
