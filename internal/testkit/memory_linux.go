package testkit

import (
	"os"
	"syscall"
)

// memory is a file system that is kept in memory, and enough is how much of it has to be free.
const memory, enough = "/dev/shm", 4 << 30

// UseMemory puts the temporary directory into memory if there is room and TMPDIR names no other, for this process and
// for those that it starts.
// A PostgreSQL cluster has a thousand files; on a disk, making them takes longer than many a test. Some tests build
// programs there, and some systems run none from memory.
func UseMemory() error {
	if os.Getenv("TMPDIR") != "" {
		return nil
	}
	var system syscall.Statfs_t
	err := syscall.Statfs(memory, &system)
	if err != nil || system.Bavail*uint64(system.Bsize) < enough || system.Flags&syscall.MS_NOEXEC != 0 {
		return nil
	}
	return os.Setenv("TMPDIR", memory)
}
