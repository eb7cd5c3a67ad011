package testkit

import (
	"os"
	"syscall"
)

// memory is a file system that is kept in memory, and enough is how much of it has to be free.
const memory, enough = "/dev/shm", 4 << 30

// UseMemory puts the temporary directory into memory if there is room, for this process and for those that it starts.
// A PostgreSQL cluster has a thousand files; on a disk, making them takes longer than many a test.
func UseMemory() error {
	var free syscall.Statfs_t
	if err := syscall.Statfs(memory, &free); err != nil || free.Bavail*uint64(free.Bsize) < enough {
		return nil
	}
	return os.Setenv("TMPDIR", memory)
}
