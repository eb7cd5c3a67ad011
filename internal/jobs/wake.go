package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
)

// driver is river's, with our waker instead of its listener.
type driver struct {
	*riverpgxv5.Driver
	waker *waker
}

func (d driver) GetListener(*riverdriver.GetListenenerParams) riverdriver.Listener { return d.waker }

// waker wakes this instance's queues when they have something to do. River by itself would LISTEN on a connection of
// its pool, which does not work through a connection pooler, or make every queue ask the database, six times a second
// in all. The waker asks for all queues in one statement: often while a person may be waiting for a job, and otherwise
// seldom. If a connection can LISTEN, it also wakes queues at once for the jobs of other instances.
//
// To river it is a listener that never loses its connection.
type waker struct {
	pool   *pgxpool.Pool
	listen *pgx.ConnConfig // nil: nothing to LISTEN on
	log    *slog.Logger
	clock  *clock
	limits Limits
	queues []string

	news      chan *riverdriver.Notification
	busyUntil atomic.Int64 // until when a person may be waiting, in Unix nanoseconds
	nudged    chan struct{}
}

func newWaker(o Options, c *clock) *waker {
	w := &waker{
		pool: o.Pool, listen: o.Listen, log: slog.New(newWarnings(o.Log.Handler())), clock: c, limits: o.Limits,
		news: make(chan *riverdriver.Notification, 100), nudged: make(chan struct{}, 1),
	}
	for queue := range o.queues() {
		w.queues = append(w.queues, queue)
	}
	slices.Sort(w.queues)
	return w
}

// run works until ctx is done.
func (w *waker) run(ctx context.Context) {
	listened := make(chan struct{})
	go func() { defer close(listened); w.keepListening(ctx) }()
	defer func() { <-listened }()
	for {
		due, err := w.ask(ctx)
		if err != nil && ctx.Err() == nil {
			w.log.WarnContext(ctx, "can't look for due jobs", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-w.nudged:
		case <-time.After(min(w.pause(), due)):
		}
	}
}

// pause returns the time until the next question.
func (w *waker) pause() time.Duration {
	if time.Now().UnixNano() < w.busyUntil.Load() {
		return w.limits.PollBusy
	}
	return w.limits.PollIdle
}

// pollOften makes run ask often for a while. Once is not enough: the transaction that enqueued a job may still be under
// way.
func (w *waker) pollOften() {
	w.busyUntil.Store(time.Now().Add(w.limits.Busy).UnixNano())
	select {
	case w.nudged <- struct{}{}:
	default:
	}
}

// inserted wraps river's insertions of jobs.
func (w *waker) inserted(ctx context.Context, jobs []*rivertype.JobInsertParams,
	insert func(context.Context) ([]*rivertype.JobInsertResult, error),
) ([]*rivertype.JobInsertResult, error) {
	available := func(job *rivertype.JobInsertParams) bool { return job.State == rivertype.JobStateAvailable }
	results, err := insert(ctx)
	if err == nil && slices.ContainsFunc(jobs, available) {
		w.pollOften()
	}
	return results, err
}

// insertTopic is the topic on which river hears of new jobs.
const insertTopic = "river_insert"

// ask wakes the queues that have due jobs, and returns the time until the next job is due, an hour at most.
func (w *waker) ask(ctx context.Context) (due time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, w.limits.Poll)
	defer cancel()
	due = time.Hour
	asked := w.clock.host()
	// All jobs have this priority. With it, the index has the earliest job first.
	rows, err := w.pool.Query(ctx, `
		SELECT q.name, clock_timestamp(), extract(epoch FROM j.scheduled_at - $2)::float8
		FROM unnest($1::text[]) AS q (name) LEFT JOIN LATERAL (
			SELECT scheduled_at FROM cairn.river_job
			WHERE state = 'available' AND queue = q.name AND priority = $3 ORDER BY scheduled_at LIMIT 1
		) AS j ON true`, w.queues, w.clock.Now(), river.PriorityDefault)
	if err != nil {
		return due, fmt.Errorf("jobs: look for due ones: %w", err)
	}
	var queue string
	var now time.Time
	var seconds *float64
	_, err = pgx.ForEachRow(rows, []any{&queue, &now, &seconds}, func() error {
		switch {
		case seconds == nil:
		case *seconds <= 0:
			w.notify(&riverdriver.Notification{Topic: insertTopic, Payload: fmt.Sprintf(`{"queue": %q}`, queue)})
		default:
			due = min(due, time.Duration(*seconds*float64(time.Second))+time.Millisecond)
		}
		return nil
	})
	if err != nil {
		return due, fmt.Errorf("jobs: look for due ones: %w", err)
	}
	w.clock.set(asked, now)
	return due, nil
}

// notify drops a notification that river has no time for: the next question repeats it.
func (w *waker) notify(n *riverdriver.Notification) {
	select {
	case w.news <- n:
	default:
	}
}

// keepListening listens until ctx is done, and replaces lost connections.
func (w *waker) keepListening(ctx context.Context) {
	if w.listen == nil {
		return
	}
	for ctx.Err() == nil {
		if err := w.listenOnce(ctx); ctx.Err() == nil {
			w.log.WarnContext(ctx, "jobs of other servers are noticed late: no connection listens", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(w.limits.Relisten):
		}
	}
}

var errNotPrimary = errors.New("the server has become read-only")

// listenOnce passes on the database's notifications until the connection is lost.
func (w *waker) listenOnce(ctx context.Context) error {
	conn, err := pgx.ConnectConfig(ctx, w.listen)
	if err != nil {
		return errors.New("connecting failed") // the cause names the user
	}
	defer func() { _ = conn.PgConn().Conn().Close() }() // no need to be polite to a server that may be silent
	var listen strings.Builder
	for _, topic := range []string{insertTopic, "river_control", "river_leadership"} {
		listen.WriteString("LISTEN " + pgx.Identifier{Schema + "." + topic}.Sanitize() + ";")
	}
	if err := w.exec(ctx, conn, listen.String()); err != nil {
		return err
	}
	w.pollOften() // earlier notifications were not heard
	for {
		heard, cancel := context.WithTimeout(ctx, w.limits.ListenCheck)
		n, err := conn.WaitForNotification(heard)
		cancel()
		switch {
		case err == nil:
			w.notify(&riverdriver.Notification{Topic: strings.TrimPrefix(n.Channel, Schema+"."), Payload: n.Payload})
			continue
		case ctx.Err() != nil || heard.Err() == nil:
			return err
		}
		if err := w.check(ctx, conn); err != nil {
			return err
		}
	}
}

// exec runs a statement that must not take long: a server may fall silent on a connection that was just made.
func (w *waker) exec(ctx context.Context, conn *pgx.Conn, sql string) error {
	ctx, cancel := context.WithTimeout(ctx, w.limits.Poll)
	defer cancel()
	_, err := conn.Exec(ctx, sql)
	return err
}

// check checks a silent connection: its server has to answer, and to accept jobs.
func (w *waker) check(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, w.limits.Poll)
	defer cancel()
	var readOnly bool
	err := conn.QueryRow(ctx, `
		SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean`).Scan(&readOnly)
	if err == nil && readOnly {
		return errNotPrimary
	}
	return err
}

// The rest implements riverdriver.Listener.

func (w *waker) WaitForNotification(ctx context.Context) (*riverdriver.Notification, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case n := <-w.news:
		return n, nil
	}
}

func (*waker) Connect(context.Context) error          { return nil }
func (*waker) Close(context.Context) error            { return nil }
func (*waker) Listen(context.Context, string) error   { return nil }
func (*waker) Unlisten(context.Context, string) error { return nil }
func (*waker) Ping(context.Context) error             { return nil }
func (*waker) Schema() string                         { return Schema }
func (*waker) SetAfterConnectExec(string)             {}
