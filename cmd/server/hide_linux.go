package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// hide keeps other processes of our user, our children among them, from what this one knows: they may read neither its
// environment (/proc/PID/environ) nor its memory any more. Root may.
func hide() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("keep the secrets from the command: %w", err)
	}
	return nil
}
