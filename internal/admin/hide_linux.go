package admin

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// hide prevents other processes of our user, our children among them, from reading the environment (/proc/PID/environ)
// and the memory of this one. Root still can.
func hide() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("keep the secrets from the command: %w", err)
	}
	return nil
}
