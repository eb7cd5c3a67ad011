//go:build unix

package db

import (
	"crypto/tls"
	"net"
	"syscall"
)

// readable reports whether an idle connection has data to read. PostgreSQL sends some unasked only when it ends the
// connection, so it is worth a ping. The check is one system call and no round trip.
func readable(conn net.Conn) bool {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return true
	}
	var peeked error
	// Not raw.Read: that waits for pgx, which may be reading in the background.
	err = raw.Control(func(fd uintptr) {
		_, _, peeked = syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	return err != nil || peeked != syscall.EAGAIN
}
