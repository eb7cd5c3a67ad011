package jobs

import (
	"context"

	"github.com/riverqueue/river"

	"cairn/internal/connection"
)

// keepAlive is a job: refresh a connection's tokens before they lapse.
type keepAlive struct {
	Provider   string `json:"provider" river:"unique"`
	UserID     int64  `json:"user" river:"unique"`
	Generation int64  `json:"generation" river:"unique"`
}

func (keepAlive) Kind() string { return "keep_alive" }

func (k keepAlive) InsertOpts() river.InsertOpts {
	return river.InsertOpts{
		Queue:       k.Provider,
		MaxAttempts: 12, // half a day; the next look tries again
		UniqueOpts:  river.UniqueOpts{ByArgs: true},
	}
}

type keeper struct {
	river.WorkerDefaults[keepAlive]
	Deps
}

func (k *keeper) Work(ctx context.Context, job *river.Job[keepAlive]) error {
	p := k.Providers.Get(job.Args.Provider)
	if p == nil {
		return nil // no keys any more: nothing to be done
	}
	return k.Connections.KeepAlive(ctx, p, connection.Idle{UserID: job.Args.UserID, Generation: job.Args.Generation})
}
