package main

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/activity"
	"cairn/internal/auth"
	"cairn/internal/connection"
	"cairn/internal/jobs"
	"cairn/internal/mail"
	"cairn/internal/node"
	"cairn/internal/oauth"
	"cairn/internal/session"
)

// upkeep is the periodic work of every instance outside requests: it deletes expired rows in small batches, records
// when sessions were last seen, announces the instance, and imports from the Node server.
type upkeep struct {
	log         *slog.Logger
	pool        *pgxpool.Pool
	batch       time.Duration // for one batch
	sessions    *session.Manager
	accounts    *auth.Accounts
	oauth       *oauth.Client
	connections *connection.Store
	entries     *activity.Store
	jobs        *jobs.Jobs
	presence    *presence
	node        *node.Node
	importer    *node.Importer // nil: NODE_IMPORT is off
}

const (
	sweepEvery  = time.Minute
	recordEvery = time.Minute
	importEvery = time.Minute
	// retainEvery is longer, because each time all connections are read: 0.8 s for 300,000.
	retainEvery = 15 * time.Minute
)

// repeatSweeps deletes expired rows until ctx is done.
func (u upkeep) repeatSweeps(ctx context.Context) error {
	repeat(ctx, sweepEvery, u.sweepExpired)
	return nil
}

// repeatRetention deletes what may no longer be kept of connections until ctx is done.
func (u upkeep) repeatRetention(ctx context.Context) error {
	repeat(ctx, retainEvery, u.sweepConnections)
	return nil
}

// repeatRecords records when sessions were last seen until ctx is done, and then once more. It has a goroutine of its
// own, because sweeps may take minutes.
func (u upkeep) repeatRecords(ctx context.Context) error {
	repeat(ctx, recordEvery, u.record)
	u.record(context.WithoutCancel(ctx))
	return nil
}

// repeatImports imports from the Node server at once, and then until ctx is done. It has a goroutine of its own,
// because an import may take minutes.
func (u upkeep) repeatImports(ctx context.Context) error {
	if u.importer == nil {
		return nil
	}
	do := u.importer.Repeated(u.log)
	do(ctx)
	repeat(ctx, importEvery, do)
	return nil
}

// repeat calls do until ctx is done. Intervals vary by half, so that instances that started together spread out.
func repeat(ctx context.Context, interval time.Duration, do func(context.Context)) {
	next := time.NewTimer(vary(interval))
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
			do(ctx)
			next.Reset(vary(interval))
		}
	}
}

func vary(d time.Duration) time.Duration { return d/2 + rand.N(d) }

func (u upkeep) sweepExpired(ctx context.Context) {
	u.sweep(ctx, u.sessions.Sweep)
	u.sweep(ctx, u.sessions.SweepEndings)
	u.sweep(ctx, u.oauth.Sweep)
	u.sweep(ctx, u.accounts.Sweep)
	u.sweep(ctx, u.presence.Sweep)
	u.sweep(ctx, u.accounts.SweepBrowsers)
	u.sweep(ctx, u.accounts.SweepTrust)
	u.sweep(ctx, u.accounts.SweepLinks)
	u.sweep(ctx, u.accounts.SweepEvents)
	u.sweep(ctx, u.sweepMail)
	u.sweep(ctx, u.accounts.SweepChallenges)
	u.sweep(ctx, u.entries.SweepRequests)
	u.sweep(ctx, u.node.Sweep)
}

func (u upkeep) sweepConnections(ctx context.Context) {
	u.sweep(ctx, u.connections.SweepPictures)
	u.sweep(ctx, u.entries.SweepEntries)
	u.sweep(ctx, u.entries.SweepAddresses)
}

func (u upkeep) sweepMail(ctx context.Context) (more bool, err error) { return mail.Sweep(ctx, u.pool) }

// sweep runs batch until nothing is left. After each run it pauses for as long as the run took, because requests come
// first.
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
