package connection

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"cairn/internal/avatar"
)

// Queue is where jobs are enqueued: a jobs.Queue.
type Queue interface {
	// InsertTx enqueues a job in the transaction that makes it necessary.
	InsertTx(
		ctx context.Context, tx pgx.Tx, args river.JobArgs, opts *river.InsertOpts,
	) (*rivertype.JobInsertResult, error)
	// BackOff is how long a job waits that failed with err; ok is false if the failure counts as an attempt.
	BackOff(job *rivertype.JobRow, err error) (wait time.Duration, ok bool)
}

// Syncs is where syncs are enqueued: an activity.SyncQueue.
type Syncs interface {
	// EnqueueFetch enqueues a fetch of the newest entries of an account that is connected in tx.
	EnqueueFetch(ctx context.Context, tx pgx.Tx, provider, subject string) error
	// EnqueueCheck enqueues a check of an account after some time, if it is connected then.
	EnqueueCheck(ctx context.Context, tx pgx.Tx, provider, subject string, after time.Duration) error
}

// enqueueFetches enqueues fetches of the newest entries and the picture of an account that is connected in tx.
func (s *Store) enqueueFetches(ctx context.Context, tx pgx.Tx, provider, subject string) error {
	if s.queue == nil {
		return nil
	}
	if err := s.syncs.EnqueueFetch(ctx, tx, provider, subject); err != nil {
		return err
	}
	_, err := s.queue.InsertTx(ctx, tx, pictureJob{provider, subject}, nil)
	return err
}

func (s *Store) enqueueRevocation(ctx context.Context, tx pgx.Tx, provider string, id int64) error {
	if s.queue == nil {
		return nil
	}
	_, err := s.queue.InsertTx(ctx, tx, revocationJob{id, provider}, nil)
	return err
}

// Register adds the workers of jobs about connections.
func (s *Store) Register(workers *river.Workers) {
	river.AddWorker(workers, &revocationWorker{store: s})
	river.AddWorker(workers, &keepAliveWorker{store: s})
	river.AddWorker(workers, &pictureWorker{store: s})
}

// Reconcile lists pending revocations, refreshes that were cut off and pictures that are due; and, for later, tokens
// that would expire unused.
func (s *Store) Reconcile(ctx context.Context) (now, later []river.JobArgs, err error) {
	for _, provider := range s.providers.Keys() { // also those without keys: their revocations end after a week
		pending, err := s.PendingRevocations(ctx, provider)
		if err != nil {
			return now, later, err
		}
		for _, id := range pending {
			now = append(now, revocationJob{ID: id, provider: provider})
		}
	}
	for _, p := range s.providers.Usable() {
		idle, err := s.Idle(ctx, p)
		if err != nil {
			return now, later, err
		}
		for _, i := range idle {
			list := &later
			if i.CutOff {
				list = &now
			}
			*list = append(*list, keepAliveJob{p.Key, i.UserID, i.Generation})
		}
		subjects, err := s.PicturesDue(ctx, p)
		if err != nil {
			return now, later, err
		}
		for _, subject := range subjects {
			now = append(now, pictureJob{p.Key, subject})
		}
	}
	return now, later, nil
}

// revocationJob has a provider revoke the tokens of a revocation.
type revocationJob struct {
	ID       int64  `json:"id" river:"unique"`
	provider string // whose queue it goes to; a worker does not see it
}

// Kind is the stored word for a revocation.
func (revocationJob) Kind() string { return "withdraw" }

// InsertOpts give a revocation a week: after attempt n, river waits n⁴ seconds.
func (j revocationJob) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: j.provider, MaxAttempts: 19, UniqueOpts: river.UniqueOpts{ByArgs: true}}
}

type revocationWorker struct {
	river.WorkerDefaults[revocationJob]
	store *Store
}

func (w *revocationWorker) Work(ctx context.Context, job *river.Job[revocationJob]) error {
	err := w.store.Revoke(ctx, job.Args.ID)
	if errors.Is(err, ErrHeld) {
		return river.JobSnooze(time.Minute)
	}
	if _, ok := w.store.queue.BackOff(job.JobRow, err); err != nil && !ok && job.Attempt >= job.MaxAttempts {
		return errors.Join(err, w.store.AbandonRevocation(ctx, job.Args.ID))
	}
	return err
}

// keepAliveJob refreshes a connection's tokens before they expire unused.
type keepAliveJob struct {
	Provider   string `json:"provider" river:"unique"`
	UserID     int64  `json:"user" river:"unique"`
	Generation int64  `json:"generation" river:"unique"`
}

func (keepAliveJob) Kind() string { return "keep_alive" }

func (j keepAliveJob) InsertOpts() river.InsertOpts {
	return river.InsertOpts{
		Queue:       j.Provider,
		MaxAttempts: 12, // half a day; the next Reconcile lists it again
		UniqueOpts:  river.UniqueOpts{ByArgs: true},
	}
}

type keepAliveWorker struct {
	river.WorkerDefaults[keepAliveJob]
	store *Store
}

func (w *keepAliveWorker) Work(ctx context.Context, job *river.Job[keepAliveJob]) error {
	p := w.store.providers.Get(job.Args.Provider)
	if p == nil {
		return nil // its keys were removed
	}
	return w.store.KeepAlive(ctx, p, Idle{UserID: job.Args.UserID, Generation: job.Args.Generation})
}

// PictureQueue is the queue of pictures. One at a time is decoded on an instance, because that takes memory.
const PictureQueue = "pictures"

// pictureJob fetches the picture of a connected account.
type pictureJob struct {
	Provider string `json:"provider" river:"unique"`
	Subject  string `json:"subject" river:"unique"`
}

func (pictureJob) Kind() string { return "picture" }

// InsertOpts have a job of a killed server tried again. A picture that can't be fetched is tried again a day later.
func (pictureJob) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: PictureQueue, MaxAttempts: 3, UniqueOpts: river.UniqueOpts{ByArgs: true}}
}

type pictureWorker struct {
	river.WorkerDefaults[pictureJob]
	store *Store
}

// Work fetches a picture, once a day at most. If it can't, the picture from before stays.
func (w *pictureWorker) Work(ctx context.Context, job *river.Job[pictureJob]) error {
	p := w.store.providers.Get(job.Args.Provider)
	if p == nil {
		return nil
	}
	due, err := w.store.beginPicture(ctx, p.Key, job.Args.Subject)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	picture, err := w.store.pictures.Fetch(ctx, due.address, p.PictureHosts)
	if err != nil && !errors.Is(err, avatar.ErrNoPicture) {
		w.store.log.InfoContext(ctx, "a picture was not fetched", "provider", p.Key, "error", err)
		return nil
	}
	return w.store.storePicture(ctx, due.identityID, Picture(picture))
}
