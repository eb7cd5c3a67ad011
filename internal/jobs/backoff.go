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
	// maxBackOff is how long a job may back off without using up attempts. A provider that always asks us to wait must
	// not make us keep a revocation, and its tokens, for ever.
	maxBackOff = 7 * 24 * time.Hour
	// backOffJitter keeps jobs that wait for the same moment from starting together.
	backOffJitter = time.Minute
)

// backingOff wraps the work of every job. If the provider wants no calls now, it puts the job off for as long as that
// lasts.
func (q *Queue) backingOff(ctx context.Context, job *rivertype.JobRow, work func(context.Context) error) error {
	err := work(oauth.InBackground(ctx))
	if wait, ok := q.BackOff(job, err); ok {
		return river.JobSnooze(wait)
	}
	return err
}

// BackOff returns how long a job that failed with err waits. ok is false if the provider has named no time, or has put
// the job off for a week: then the failure counts as an attempt.
func (q *Queue) BackOff(job *rivertype.JobRow, err error) (wait time.Duration, ok bool) {
	failure, ok := errors.AsType[*oauth.Error](err)
	if !ok || failure.Until.IsZero() || q.Now().Sub(job.CreatedAt) > maxBackOff {
		return 0, false
	}
	return max(time.Second, failure.Until.Sub(q.Now())) + rand.N(backOffJitter), true
}
