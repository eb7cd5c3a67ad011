package jobs

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// clock shows the database's time on this machine, whose own clock may be wrong. River uses it. By the machine's clock
// it would start a job an hour late if that clock is an hour ahead.
type clock struct {
	host    func() time.Time
	forward atomic.Int64 // how far the database's clock is ahead of host, in nanoseconds
}

func newClock(ctx context.Context, host func() time.Time, pool *pgxpool.Pool) (*clock, error) {
	c := &clock{host: host}
	var now time.Time
	asked := c.host()
	if err := pool.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&now); err != nil {
		return nil, fmt.Errorf("jobs: read the database's clock: %w", err)
	}
	c.set(asked, now)
	return c, nil
}

// Now is the database's time, as closely as it is known.
func (c *clock) Now() time.Time { return c.host().Add(time.Duration(c.forward.Load())) }

// NowOrNil is Now. River asks for it where it would otherwise use the database's now(), or this machine's time.
func (c *clock) NowOrNil() *time.Time { return new(c.Now()) }

// set learns from the database's answer to a question for the time. The question was sent at asked, by host; the answer
// was given at some moment since then. As long as the present offset may be right, it is kept.
func (c *clock) set(asked, answer time.Time) {
	half := c.host().Sub(asked) / 2
	forward := answer.Sub(asked.Add(half))
	if (forward - time.Duration(c.forward.Load())).Abs() > half {
		c.forward.Store(int64(forward))
	}
}
