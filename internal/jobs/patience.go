package jobs

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"cairn/internal/oauth"
)

const (
	// patience is how long a job may wait without using up tries. A provider that always asks us to
	// wait must not make us keep a revocation, and its tokens, for ever.
	patience = 7 * 24 * time.Hour
	// spread keeps those that wait for the same moment from knocking together.
	spread = time.Minute
)

// snoozing is around the work of every job: one that its provider does not want now comes back when it may.
func (c *clock) snoozing(ctx context.Context, job *rivertype.JobRow, work func(context.Context) error) error {
	err := work(oauth.InBackground(ctx))
	if wait, later := c.snoozeFor(job, err); later {
		return river.JobSnooze(wait)
	}
	return err
}

// snoozeFor tells how long a job has to wait, if its provider has said.
func (c *clock) snoozeFor(job *rivertype.JobRow, err error) (wait time.Duration, later bool) {
	failure, ok := errors.AsType[*oauth.Error](err)
	if !ok || failure.Until.IsZero() || c.Now().Sub(job.CreatedAt) > patience {
		return 0, false
	}
	return max(time.Second, failure.Until.Sub(c.Now())) + rand.N(spread), true
}
