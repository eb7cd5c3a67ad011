package jobs

import (
	"cmp"
	"time"
)

// Limits are the times of the background work. A field that is zero has its default.
type Limits struct {
	Job    time.Duration // one try of one job: 1 minute
	Rescue time.Duration // until a job counts as lost whose instance was killed: 5 minutes
	Stop   time.Duration // for jobs under way when the server stops, a call to a provider or two: 15 s
	Begin  time.Duration // between two looks at a database that takes no jobs yet: 1 s
	// FirstLook is until an instance looks for lost work after its start: 30 s. It may stand in for one that died, whose lease
	// of a refresh is over then.
	FirstLook time.Duration
	Look      time.Duration // from one such look to the next: 1 hour
	Rest      time.Duration // between two fetches for one connection: 15 s
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Job:       cmp.Or(l.Job, time.Minute),
		Rescue:    cmp.Or(l.Rescue, 5*time.Minute),
		Stop:      cmp.Or(l.Stop, 15*time.Second),
		Begin:     cmp.Or(l.Begin, time.Second),
		FirstLook: cmp.Or(l.FirstLook, 30*time.Second),
		Look:      cmp.Or(l.Look, time.Hour),
		Rest:      cmp.Or(l.Rest, 15*time.Second),
	}
}
