//go:build unix

package db

import (
	"crypto/tls"
	"net"
	"syscall"
)

// somethingToRead tells whether an idle connection has something to read. The only thing PostgreSQL
// says unasked is that it ends, so that is worth a ping. The check costs one system call and no
// round trip.
func somethingToRead(conn net.Conn) bool {
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
