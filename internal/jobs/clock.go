package jobs

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// clock shows the database's time on this machine, whose own may be wrong. River asks it, and would else put jobs
// aside for when this machine thinks it is due: an hour late on one that is an hour ahead.
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

// Now is the database's time, as well as it is known.
func (c *clock) Now() time.Time { return c.host().Add(time.Duration(c.forward.Load())) }

// NowOrNil is what river sends to the database, where it would send nothing and mean its now(), or this machine's time.
func (c *clock) NowOrNil() *time.Time { return new(c.Now()) }

// set takes an answer to the question for the time, asked at that time of host. It was given at some moment since:
// what is known already is kept as long as that may be right.
func (c *clock) set(asked, answer time.Time) {
	half := c.host().Sub(asked) / 2
	forward := answer.Sub(asked.Add(half))
	if (forward - time.Duration(c.forward.Load())).Abs() > half {
		c.forward.Store(int64(forward))
	}
}
