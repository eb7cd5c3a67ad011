package main

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"cairn/internal/auth"
	"cairn/internal/connection"
	"cairn/internal/jobs"
	"cairn/internal/oauth"
	"cairn/internal/session"
)

// upkeep is what has to be done off the requests' path, on every instance: expired rows go in small batches, and the
// times at which sessions were last seen are written down.
type upkeep struct {
	log         *slog.Logger
	batch       time.Duration // for one batch
	sessions    *session.Manager
	accounts    *auth.Accounts
	oauth       *oauth.Client
	connections *connection.Store
	jobs        *jobs.Jobs
	presence    *presence
}

const (
	sweepEvery  = time.Minute
	recordEvery = time.Minute
)

// repeat does what each instance does for itself, until ctx is done, and then finishes what is
// under way. Intervals vary by half, so that instances which started together spread out.
func (u upkeep) repeat(ctx context.Context) error {
	sweep, record := time.NewTimer(vary(sweepEvery)), time.NewTimer(vary(recordEvery))
	defer sweep.Stop()
	defer record.Stop()
	for {
		select {
		case <-ctx.Done():
			u.record(context.WithoutCancel(ctx))
			return nil
		case <-record.C:
			u.record(ctx)
			record.Reset(vary(recordEvery))
		case <-sweep.C:
			u.sweepAll(ctx)
			sweep.Reset(vary(sweepEvery))
		}
	}
}

func vary(d time.Duration) time.Duration { return d/2 + rand.N(d) }

func (u upkeep) sweepAll(ctx context.Context) {
	u.sweep(ctx, u.sessions.Sweep)
	u.sweep(ctx, u.sessions.SweepEndings)
	u.sweep(ctx, u.oauth.Sweep)
	u.sweep(ctx, u.accounts.Sweep)
	u.sweep(ctx, u.presence.Sweep)
	u.sweep(ctx, u.accounts.SweepBrowsers)
}

// sweep takes batch after batch until nothing is left. It rests as long as it works, because requests come first.
func (u upkeep) sweep(ctx context.Context, batch func(context.Context) (more bool, err error)) {
	for more := true; more && ctx.Err() == nil; {
		jobCtx, cancel := context.WithTimeout(ctx, u.batch)
		began := time.Now()
		var err error
		more, err = batch(jobCtx)
		cancel()
		if err != nil {
			u.log.WarnContext(ctx, "upkeep failed", "error", err)
			return
		}
		rest(ctx, time.Since(began))
	}
}

func (u upkeep) record(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, u.batch)
	defer cancel()
	if err := u.sessions.SaveLastSeen(ctx); err != nil {
		u.log.WarnContext(ctx, "upkeep failed", "error", err)
	}
}

func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
