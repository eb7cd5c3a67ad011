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

// backingOff is around the work of every job: one that its provider does not want now is tried again when it may be.
func (q *Queue) backingOff(ctx context.Context, job *rivertype.JobRow, work func(context.Context) error) error {
	err := work(oauth.InBackground(ctx))
	if wait, ok := q.BackOff(job, err); ok {
		return river.JobSnooze(wait)
	}
	return err
}

// BackOff is how long a job waits that failed with err. It is not ok if the provider has not said that, or has said it
// for a week: then the failure counts as an attempt.
func (q *Queue) BackOff(job *rivertype.JobRow, err error) (wait time.Duration, ok bool) {
	failure, ok := errors.AsType[*oauth.Error](err)
	if !ok || failure.Until.IsZero() || q.Now().Sub(job.CreatedAt) > maxBackOff {
		return 0, false
	}
	return max(time.Second, failure.Until.Sub(q.Now())) + rand.N(backOffJitter), true
}
