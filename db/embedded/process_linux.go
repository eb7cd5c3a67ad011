package embedded

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
)

// killWithParent makes the kernel ask for a fast shutdown when this process is killed.
func killWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGINT }

// commandLine returns the arguments of a process, nil for one that has ended.
func commandLine(pid int) []string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(raw) == 0 {
		return nil
	}
	return strings.Split(string(bytes.TrimRight(raw, "\x00")), "\x00")
}

// peerOf returns the user of the process that listens at the other end of a Unix socket.
func peerOf(conn net.Conn) (uid uint32, known bool) {
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, false
	}
	var peer *syscall.Ucred
	controlErr := raw.Control(func(fd uintptr) {
		peer, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if controlErr != nil || err != nil {
		return 0, false
	}
	return peer.Uid, true
}
