//go:build unix && !linux

package embedded

import (
	"net"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// killWithParent has no equivalent here: the next start stops what a killed supervisor has left.
func killWithParent(*syscall.SysProcAttr) {}

// commandLine returns the arguments of a process, nil for one that has ended. ps does not separate them, so the data
// directory is what stands between the arguments that launch gives before and after it.
func commandLine(pid int) []string {
	out, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	program, rest, found := strings.Cut(strings.TrimSpace(string(out)), " -D ")
	if err != nil || !found {
		return nil
	}
	data, _, _ := strings.Cut(rest, " -c listen_addresses=")
	return []string{program, "-D", data}
}

// peerOf does not know the user here: it has to be enough that no other user owns the directory of the socket.
func peerOf(net.Conn) (uid uint32, known bool) { return 0, false }
