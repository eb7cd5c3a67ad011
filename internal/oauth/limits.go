package oauth

import (
	"cmp"
	"time"
)

// Limits are the time limits of a Client and of its callers. A field that is zero has its default.
type Limits struct {
	Call      time.Duration // one call to a provider, from dialling to the last byte: 10 s
	Queue     time.Duration // how long a call waits while too many to the same provider are under way: 2 s
	Statement time.Duration // a statement that finishes even when the browser has left: 3 s
	Poll      time.Duration // between two looks at what another instance holds: 100 ms
	Attempt   time.Duration // how long a person may stay at the provider: 10 minutes
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Call:      cmp.Or(l.Call, 10*time.Second),
		Queue:     cmp.Or(l.Queue, 2*time.Second),
		Statement: cmp.Or(l.Statement, 3*time.Second),
		Poll:      cmp.Or(l.Poll, 100*time.Millisecond),
		Attempt:   cmp.Or(l.Attempt, 10*time.Minute),
	}
}
