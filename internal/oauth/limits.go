package oauth

import (
	"cmp"
	"time"
)

const usualStatement = 3 * time.Second

// Limits are the time limits of a Store. A field that is zero has its default.
type Limits struct {
	Call      time.Duration // one call to a provider, from dialling to the last byte: 10 s
	Queue     time.Duration // a call's wait while too many to the same provider are under way: 2 s
	Statement time.Duration // a statement that is finished even when the browser has left: 3 s
	Poll      time.Duration // from one look at what another instance holds to the next: 100 ms
	Attempt   time.Duration // a person's stay at the provider: 10 minutes
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Call:      cmp.Or(l.Call, 10*time.Second),
		Queue:     cmp.Or(l.Queue, 2*time.Second),
		Statement: cmp.Or(l.Statement, usualStatement),
		Poll:      cmp.Or(l.Poll, 100*time.Millisecond),
		Attempt:   cmp.Or(l.Attempt, 10*time.Minute),
	}
}

// lease is how long one instance may refresh a connection: the longest call, and as long again for
// storing its answer. A lease that is over belongs to an instance that died.
func (l Limits) lease() time.Duration { return 2 * l.Call }

// refresh is how long others wait for a refresh: the longest call, and a slow database. An instance
// that takes longer has died, and it is better to say that it did not work out than to let people
// wait for the end of the lease.
func (l Limits) refresh() time.Duration { return l.Call + l.Statement }

// revocation is how long telling a provider to forget an account may take: a refresh and the revocation itself.
func (l Limits) revocation() time.Duration { return 2 * (l.Queue + l.Call) }

// claim is how long an instance claims a withdrawal. Its person, who connects again, waits as long if it dies.
func (l Limits) claim() time.Duration { return l.revocation() + l.Statement }
