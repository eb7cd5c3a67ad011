package jobs

import (
	"cmp"
	"time"
)

// Limits are the times of the background work. A field that is zero has its default.
type Limits struct {
	Job    time.Duration // one try of one job: 1 minute
	Rescue time.Duration // until a job whose instance was killed counts as lost: 5 minutes
	Stop   time.Duration // for jobs under way when the server stops, a call to a provider or two: 15 s
	Begin  time.Duration // between two tries to reach a database that takes no jobs yet: 1 s
	// FirstReconcile is from the start of an instance to its first reconcile: 30 s. If an instance died during a
	// refresh just before, its lease has run out by then.
	FirstReconcile time.Duration
	Reconcile      time.Duration // from one to the next: 1 hour

	Poll        time.Duration // one question for due jobs: 3 s
	PollIdle    time.Duration // from one to the next: 15 s
	PollBusy    time.Duration // likewise, while a person may be waiting for a job: half a second
	Busy        time.Duration // a person may be waiting so long after this instance has enqueued a job: 30 s
	ListenCheck time.Duration // of silence, after which a listening connection is checked: 15 s
	Relisten    time.Duration // until a lost one is replaced: 5 s
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Job:    cmp.Or(l.Job, time.Minute),
		Rescue: cmp.Or(l.Rescue, 5*time.Minute),
		Stop:   cmp.Or(l.Stop, 15*time.Second),
		Begin:  cmp.Or(l.Begin, time.Second),

		FirstReconcile: cmp.Or(l.FirstReconcile, 30*time.Second),
		Reconcile:      cmp.Or(l.Reconcile, time.Hour),

		Poll:        cmp.Or(l.Poll, 3*time.Second),
		PollIdle:    cmp.Or(l.PollIdle, 15*time.Second),
		PollBusy:    cmp.Or(l.PollBusy, 500*time.Millisecond),
		Busy:        cmp.Or(l.Busy, 30*time.Second),
		ListenCheck: cmp.Or(l.ListenCheck, 15*time.Second),
		Relisten:    cmp.Or(l.Relisten, 5*time.Second),
	}
}
