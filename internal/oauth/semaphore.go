package oauth

import (
	"context"
	"net/http"
	"time"
)

// maxUnderWay is how many calls one instance makes to a provider at the same time. A further call waits for one of them
// to end, but not long (Limits.Queue): if that is not enough, the provider has slowed down.
const maxUnderWay = 16

// semaphore limits the calls to a provider, so that one that does not answer holds up no more than maxUnderWay.
type semaphore chan struct{}

func (c *Caller) semaphore() semaphore {
	made, _ := c.client.semaphores.LoadOrStore(c.Key, make(semaphore, maxUnderWay))
	return made.(semaphore)
}

// limited makes a call within the provider's limits and ours. send returns the header of the answer, if there was one.
// No database connection is held during the call. Errors: those of send; *Error.
func (c *Caller) limited(ctx context.Context, call string, cost cost, send func() (http.Header, error)) error {
	s := c.semaphore()
	if err := c.acquire(ctx, s, call); err != nil {
		return err
	}
	defer s.release()
	w, err := c.reserve(ctx, call, cost)
	if err != nil {
		return err
	}
	began := time.Now()
	header, err := send()
	c.observed(call, began, err)
	return c.update(ctx, w, header, err)
}

func (c *Caller) acquire(ctx context.Context, s semaphore, call string) error {
	timeout := time.NewTimer(c.client.limits.Queue)
	defer timeout.Stop()
	select {
	case s <- struct{}{}:
		return nil
	case <-timeout.C:
	case <-ctx.Done():
	}
	return &Error{Provider: c.Key, Call: call, Kind: ErrUnavailable, Unsent: true}
}

func (s semaphore) release() { <-s }
