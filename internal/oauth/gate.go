package oauth

import (
	"context"
	"net/http"
	"time"
)

// maxUnderWay is how many calls one instance makes to a provider at the same time. A call waits for
// one of them to end only so long (Limits.Queue): when that is not enough the provider has slowed
// down.
const maxUnderWay = 16

// gate is in front of a provider: one that does not answer holds up no more than so many calls.
type gate chan struct{}

func (s *Store) gate(provider string) gate {
	made, _ := s.gates.LoadOrStore(provider, make(gate, maxUnderWay))
	return made.(gate)
}

// limited makes a call within the limits of the provider and our own. send returns the header of
// the answer, if there was one. No database connection is held during the call. Errors: those of
// send; *Error.
func (c *caller) limited(ctx context.Context, call string, n need, send func() (http.Header, error)) error {
	if err := c.enter(ctx, call); err != nil {
		return err
	}
	defer c.leave()
	p, err := c.reserve(ctx, call, n)
	if err != nil {
		return err
	}
	began := time.Now()
	header, err := send()
	c.observe(call, began, err)
	return c.learn(ctx, p, header, err)
}

func (c *caller) enter(ctx context.Context, call string) error {
	if c.gate == nil {
		return nil
	}
	patience := time.NewTimer(c.limits.Queue)
	defer patience.Stop()
	select {
	case c.gate <- struct{}{}:
		return nil
	case <-patience.C:
	case <-ctx.Done():
	}
	return &Error{Provider: c.provider.Key, Call: call, Kind: ErrUnavailable, unsent: true}
}

func (c *caller) leave() {
	if c.gate != nil {
		<-c.gate
	}
}
