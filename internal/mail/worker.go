package mail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"cairn/db"
)

// Transport sends a message: a Sender, or the sandbox's mailbox. Errors: ErrRefused and ErrInvalid, which are final;
// after any other error, try again later.
type Transport interface {
	Send(ctx context.Context, m Message) error
}

// Accounts are what a Worker needs of accounts: auth.Accounts.
type Accounts interface {
	// LinkToken returns the token of a link. Errors: ErrNoLink.
	LinkToken(ctx context.Context, id int64) (string, error)
	// MailSent notes that a message to an address was sent.
	MailSent(ctx context.Context, address string) error
	// MailRefused notes that a message to an address was refused for good.
	MailRefused(ctx context.Context, address string) error
}

// ErrNoLink says that the link of a message is not good any more.
var ErrNoLink = errors.New("the link is used, replaced or too old")

// Words turn a draft into a message, all but its ID and its recipient. token is its link's; "": it has none.
type Words func(d Draft, token string) Message

// Deps are what a Worker needs.
type Deps struct {
	Pool      *pgxpool.Pool
	Log       *slog.Logger
	Transport Transport
	Accounts  Accounts
	Words     Words
	Observe   func(kind, result string) // results: sent, refused, failed, dropped
}

// Worker sends the messages in the outbox. It is a jobs.Feature.
type Worker struct {
	river.WorkerDefaults[messageJob]
	Deps
}

// NewWorker returns the worker of a database.
func NewWorker(d Deps) *Worker { return &Worker{Deps: d} }

// messageJob sends a message.
type messageJob struct {
	ID int64 `json:"id" river:"unique"`
}

func (messageJob) Kind() string { return "message" }

// InsertOpts give a message two days: after attempt n, river waits n⁴ seconds.
func (messageJob) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: JobQueue, MaxAttempts: 15, UniqueOpts: river.UniqueOpts{ByArgs: true}}
}

// Register adds the worker to those of other jobs.
func (w *Worker) Register(workers *river.Workers) { river.AddWorker(workers, w) }

// Reconcile has nothing to do: a message and its job are stored together.
func (w *Worker) Reconcile(context.Context) (now, later []river.JobArgs, err error) {
	return nil, nil, nil
}

// Work sends a message. A server that is killed after that and before it forgets the message has it sent again, with
// the same Message-ID.
func (w *Worker) Work(ctx context.Context, job *river.Job[messageJob]) error {
	d, err := w.read(ctx, job.Args.ID)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("mail: read message %d: %w", job.Args.ID, err)
	}
	err = w.send(ctx, d)
	switch last := job.Attempt >= job.MaxAttempts; {
	case err == nil:
		return errors.Join(w.Accounts.MailSent(ctx, d.To), w.forget(ctx, job.Args.ID, d, "sent"))
	case errors.Is(err, ErrNoLink):
		return w.forget(ctx, job.Args.ID, d, "dropped")
	case errors.Is(err, ErrRefused):
		w.Log.WarnContext(ctx, "a message was refused", "kind", d.Kind, "user", d.UserID, "error", err)
		return errors.Join(w.Accounts.MailRefused(ctx, d.To), w.forget(ctx, job.Args.ID, d, "refused"))
	case errors.Is(err, ErrInvalid), last:
		return errors.Join(river.JobCancel(err), w.forget(ctx, job.Args.ID, d, "dropped"))
	}
	w.Observe(string(d.Kind), "failed")
	return err
}

func (w *Worker) read(ctx context.Context, id int64) (d Draft, err error) {
	err = w.Pool.QueryRow(ctx, `
		SELECT key, COALESCE(user_id, 0), recipient, kind, facts, COALESCE(link_id, 0)
		FROM cairn.messages WHERE id = $1`, id).Scan(&d.key, &d.UserID, &d.To, &d.Kind, &d.Facts, &d.LinkID)
	return d, err
}

func (w *Worker) send(ctx context.Context, d Draft) (err error) {
	token := ""
	if d.LinkID != 0 {
		if token, err = w.Accounts.LinkToken(ctx, d.LinkID); err != nil {
			return err
		}
	}
	m := w.Words(d, token)
	m.ID, m.To = d.key, d.To
	return w.Transport.Send(ctx, m)
}

// keptFor is how long a message is tried, and a little more.
const keptFor = 3 * 24 * time.Hour

// Sweep forgets one batch of messages whose jobs have ended without that, because mail was turned off or the database
// was unreachable. It reports whether more may be left.
func Sweep(ctx context.Context, pool *pgxpool.Pool) (more bool, err error) {
	tag, err := pool.Exec(ctx, `
		DELETE FROM cairn.messages WHERE id IN (
			SELECT id FROM cairn.messages WHERE created_at < now() - $1::interval
			ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)`, keptFor, db.Batch)
	if err != nil {
		return false, fmt.Errorf("mail: sweep messages: %w", err)
	}
	return tag.RowsAffected() == db.Batch, nil
}

func (w *Worker) forget(ctx context.Context, id int64, d Draft, result string) error {
	w.Observe(string(d.Kind), result)
	if _, err := w.Pool.Exec(ctx, `DELETE FROM cairn.messages WHERE id = $1`, id); err != nil {
		return fmt.Errorf("mail: forget message %d: %w", id, err)
	}
	return nil
}
