//go:build unix && !linux

package embedded

import (
	"net"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// killWithParent has no equal here: the next start stops what a killed supervisor leaves.
func killWithParent(*syscall.SysProcAttr) {}

// commandLine returns the arguments of a process, nil for one that has ended. ps shows them without borders, so only
// the ones that launch gives before and after the data directory tell where that ends.
func commandLine(pid int) []string {
	out, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	program, rest, found := strings.Cut(strings.TrimSpace(string(out)), " -D ")
	if err != nil || !found {
		return nil
	}
	data, _, _ := strings.Cut(rest, " -c listen_addresses=")
	return []string{program, "-D", data}
}

// peerOf does not know: it has to be enough that no other user owns the directory of the socket.
func peerOf(net.Conn) (uid uint32, known bool) { return 0, false }
