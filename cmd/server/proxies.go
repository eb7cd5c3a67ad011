package main

import (
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"cairn/internal/instance"
)

// sayAgain is how long nothing more is said about proxies that are not trusted.
const sayAgain = time.Hour

// noteUntrusted returns what hears of peers that name a client and are not trusted to. It tells the other servers, and so
// the doctor, and logs a line at first and then once an hour: anybody can send such a request.
func noteUntrusted(log *slog.Logger, self *instance.Self) func(netip.Addr) {
	var said atomic.Int64 // when, in Unix nanoseconds
	return func(peer netip.Addr) {
		self.NoteUntrusted(peer)
		last, now := said.Load(), time.Now().UnixNano()
		if now-last < int64(sayAgain) || !said.CompareAndSwap(last, now) {
			return
		}
		log.Warn("X-Forwarded-For came from a peer that TRUSTED_PROXIES does not name, and was ignored. If that is your proxy, "+
			"all people behind it share its address and the limits of one person", "peer", peer)
	}
}
