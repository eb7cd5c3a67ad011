package admin

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// hide keeps other processes of our user, our children included, from reading this process's environment
// (/proc/PID/environ) and memory. Root can still read them.
func hide() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("keep the secrets from the command: %w", err)
	}
	return nil
}
