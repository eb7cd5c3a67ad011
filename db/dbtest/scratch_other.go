//go:build !linux

package dbtest

import "os"

func scratch() string { return os.TempDir() }
