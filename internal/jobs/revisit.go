package jobs

import (
	"context"
	"fmt"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// revisit is a job: ask a provider how a connection is, because a webhook said that something happened to it.
type revisit struct {
	Provider string `json:"provider" river:"unique"`
	Subject  string `json:"subject" river:"unique"`
}

func (revisit) Kind() string { return "revisit" }

// InsertOpts let one job stand for all that is said until it begins; what is said later needs another look.
func (v revisit) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: v.Provider, MaxAttempts: 8, UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable, rivertype.JobStateRunning, rivertype.JobStateScheduled,
	}}}
}

// Revisit has the connections to these subjects looked at soon. Subjects that nobody has connected are left out.
func (j *Jobs) Revisit(ctx context.Context, provider string, subjects []string) error {
	connected, err := j.connections.Connected(ctx, provider, subjects)
	if err != nil || len(connected) == 0 {
		return err
	}
	params := make([]river.InsertManyParams, len(connected))
	for i, subject := range connected {
		params[i] = river.InsertManyParams{Args: revisit{provider, subject}}
	}
	if _, err := j.client.InsertMany(ctx, params); err != nil {
		return fmt.Errorf("jobs: put visits to %s aside: %w", provider, err)
	}
	return nil
}

type revisitor struct {
	river.WorkerDefaults[revisit]
	Deps
}

func (v *revisitor) Work(ctx context.Context, job *river.Job[revisit]) error {
	p := v.provider(job.Args.Provider)
	if p == nil {
		return nil
	}
	return v.Connections.Revisit(ctx, p, job.Args.Subject)
}
