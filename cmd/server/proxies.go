package main

import (
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"cairn/internal/instance"
)

// sayAgain is the time between two lines of the log about untrusted proxies.
const sayAgain = time.Hour

// noteUntrusted returns a function for routes.Watch: it takes a peer that names a client and is not trusted to. It
// announces the peer to the other servers, and so to the doctor, and logs a line at first and then once an hour:
// anybody can send such a request.
func noteUntrusted(log *slog.Logger, self *instance.Self) func(netip.Addr) {
	var said atomic.Int64 // when, in Unix nanoseconds
	return func(peer netip.Addr) {
		self.NoteUntrusted(peer)
		last, now := said.Load(), time.Now().UnixNano()
		if now-last < int64(sayAgain) || !said.CompareAndSwap(last, now) {
			return
		}
		log.Warn("X-Forwarded-For came from a peer that TRUSTED_PROXIES does not name, and was ignored. "+
			"If that is your proxy, all people behind it share its address and the limits of one person", "peer", peer)
	}
}
