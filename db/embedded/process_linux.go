package embedded

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// dieWithUs makes the kernel ask for a fast shutdown when this process is killed.
func dieWithUs(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGINT }

// commandLine returns the arguments of a process, nil for one that has ended.
func commandLine(pid int) []string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(raw) == 0 {
		return nil
	}
	return strings.Split(string(bytes.TrimRight(raw, "\x00")), "\x00")
}
