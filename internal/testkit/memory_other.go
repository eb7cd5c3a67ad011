//go:build !linux

package testkit

// UseMemory does nothing: only Linux has a directory in memory that every account may use.
func UseMemory() error { return nil }
