package connection

import (
	"time"

	"cairn/internal/oauth"
)

// limits are the time limits of a store: they follow from those of a call.
type limits struct{ oauth.Limits }

// lease is how long one instance may refresh a connection: the longest call, and as long again for
// storing its answer. If a lease runs out, its instance has died.
func (l limits) lease() time.Duration { return 2 * l.Call }

// refresh is how long others wait for a refresh: the longest call, and a slow database. An instance
// that takes longer has died, and a failure now is better than making people wait until the lease runs out.
func (l limits) refresh() time.Duration { return l.Call + l.Statement }

// revocation is how long a revocation may take: a refresh, and the call that revokes.
func (l limits) revocation() time.Duration { return 2 * (l.Queue + l.Call) }

// claim is how long an instance claims a revocation. If it dies, a person who connects again waits that long.
func (l limits) claim() time.Duration { return l.revocation() + l.Statement }
