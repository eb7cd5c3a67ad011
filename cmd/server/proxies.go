package main

import (
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"cairn/internal/instance"
)

// sayAgain is the time between two log lines about untrusted proxies.
const sayAgain = time.Hour

// noteUntrusted returns a function for routes.Observer. It is called with a peer that sent X-Forwarded-For without
// being trusted. The function adds the peer to the announcement of this server, where the doctor finds it, and logs at
// most one line an hour, because any stranger can send such a request.
func noteUntrusted(log *slog.Logger, self *instance.Self) func(netip.Addr) {
	var said atomic.Int64 // when, in Unix nanoseconds
	return func(peer netip.Addr) {
		self.NoteUntrusted(peer)
		last, now := said.Load(), time.Now().UnixNano()
		if now-last < int64(sayAgain) || !said.CompareAndSwap(last, now) {
			return
		}
		log.Warn("X-Forwarded-For came from a peer that TRUSTED_PROXIES does not name, and was ignored. "+
			"If that is your proxy, everyone behind it shares its address and one person's limits", "peer", peer)
	}
}
