package jobs

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"cairn/internal/avatar"
	"cairn/internal/connection"
	"cairn/internal/oauth"
)

// pictureQueue is one of its own, in which one picture at a time is decoded on an instance: that takes memory.
const pictureQueue = "pictures"

// pictureJob fetches the picture of a connected account.
type pictureJob struct {
	Provider string `json:"provider" river:"unique"`
	Subject  string `json:"subject" river:"unique"`
}

func (pictureJob) Kind() string { return "picture" }

// InsertOpts are for a server that is killed: what ends without a picture is tried again a day later.
func (pictureJob) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: pictureQueue, MaxAttempts: 3, UniqueOpts: river.UniqueOpts{ByArgs: true}}
}

type picturer struct {
	river.WorkerDefaults[pictureJob]
	Deps
}

// Work fetches a picture once a day at most. One that can't be fetched now leaves the one before in place.
func (w *picturer) Work(ctx context.Context, job *river.Job[pictureJob]) error {
	p := w.Providers.Get(job.Args.Provider)
	if p == nil {
		return nil
	}
	due, err := w.Connections.BeginPicture(ctx, p.Key, job.Args.Subject)
	if errors.Is(err, connection.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	picture, err := w.Pictures.Fetch(ctx, due.Address, p.PictureHosts)
	if err != nil && !errors.Is(err, avatar.ErrUnfit) {
		w.Log.InfoContext(ctx, "picture not fetched", "provider", p.Key, "error", err)
		return nil
	}
	return w.Connections.StorePicture(ctx, due.IdentityID, connection.Picture(picture))
}

func (q *Queue) enqueuePicture(ctx context.Context, tx pgx.Tx, provider, subject string) error {
	if _, err := q.client.InsertTx(ctx, tx, pictureJob{provider, subject}, nil); err != nil {
		return fmt.Errorf("jobs: enqueue a picture at %s: %w", provider, err)
	}
	return nil
}

// pictures are jobs for the pictures that are due.
func (l *looker) pictures(ctx context.Context, p *oauth.Provider) (found []river.InsertManyParams, err error) {
	subjects, err := l.Connections.PicturesDue(ctx, p)
	for _, subject := range subjects {
		found = append(found, river.InsertManyParams{Args: pictureJob{p.Key, subject}})
	}
	return found, err
}
