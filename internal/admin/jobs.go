package admin

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/config"
	"cairn/internal/jobs"
)

// AboutJobs explains Jobs.
const AboutJobs = `
States: available (waiting for a worker), running, retryable (failed, to be tried
again), scheduled, completed, cancelled, discarded (given up).

--json prints one JSON object a line: kind, state, count, oldest.
`

// jobTally is a line of the listing.
type jobTally struct {
	Kind   string    `json:"kind"`
	State  string    `json:"state"`
	Count  int       `json:"count"`
	Oldest time.Time `json:"oldest"` // when the first of them was enqueued
}

// Jobs counts background jobs by kind and state.
func Jobs(ctx context.Context, e Env, out io.Writer) error {
	asJSON, err := ParseListing(e.Args)
	if err != nil {
		return err
	}
	return e.Database(ctx, func(_ config.Config, pool *pgxpool.Pool) error {
		tallies, err := jobs.Count(ctx, pool)
		if err != nil {
			return err
		}
		var rows []jobTally
		for _, t := range tallies {
			rows = append(rows, jobTally{t.Kind, t.State, t.N, t.Oldest.UTC()})
		}
		return listAll(out, asJSON, "KIND\tSTATE\tJOBS\tOLDEST", rows, func(t jobTally) string {
			return fmt.Sprintf("%s\t%s\t%d\t%s", t.Kind, t.State, t.Count, stamp(t.Oldest))
		})
	})
}
