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
	// FirstLook is until an instance looks for lost work after its start: 30 s. It may stand in for one that died,
	// whose lease of a refresh is over then.
	FirstLook time.Duration
	Look      time.Duration // from one such look to the next: 1 hour
	Rest      time.Duration // between two fetches for one connection: 15 s

	Poll        time.Duration // one question for due jobs: 3 s
	PollIdle    time.Duration // from one to the next: 15 s
	PollBusy    time.Duration // likewise, while somebody may wait for a job: half a second
	Busy        time.Duration // somebody may, after this instance has enqueued a job: 30 s
	ListenCheck time.Duration // of silence, until a connection that listens is looked at: 15 s
	Relisten    time.Duration // until one that was lost is made again: 5 s
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

		Poll:        cmp.Or(l.Poll, 3*time.Second),
		PollIdle:    cmp.Or(l.PollIdle, 15*time.Second),
		PollBusy:    cmp.Or(l.PollBusy, 500*time.Millisecond),
		Busy:        cmp.Or(l.Busy, 30*time.Second),
		ListenCheck: cmp.Or(l.ListenCheck, 15*time.Second),
		Relisten:    cmp.Or(l.Relisten, 5*time.Second),
	}
}
