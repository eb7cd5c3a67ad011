package db

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Lock is an advisory lock. One process at a time does what it stands for, in everything that uses the database.
//
// It belongs to a transaction, not to a session: a connection pooler that is in transaction mode takes sessions
// apart, and a session's lock would stay behind on a connection that is somebody else's by then. The transaction is
// kept busy while the lock is held, and PostgreSQL ends one that is idle, so that a process that has vanished keeps
// no lock.
type Lock struct {
	Key  int64
	Name string        // what it is for, as others read it in pg_stat_activity: "cairn migrate"
	Wait time.Duration // for others to free it; 0: not at all
	Log  *slog.Logger  // hears who holds it; nil: nobody does
	Idle time.Duration // without a sign of life from its process, after which PostgreSQL frees it; 0: 30 s
}

// ErrLocked says that somebody else has held a lock for longer than its Wait.
var ErrLocked = errors.New("db: somebody else holds the lock")

var errLockLost = errors.New("db: the lock was lost with its connection")

const (
	lockIdle      = 30 * time.Second
	tryLockPause  = 500 * time.Millisecond
	tellLockAgain = time.Minute
)

// Hold runs work while it holds the lock, which takes a connection of the pool. When the lock is lost, the context
// that work gets is done. Work that must not go on without the lock asks held first. Errors: ErrLocked, with who
// holds it, and those of work.
func (l Lock) Hold(ctx context.Context, pool *pgxpool.Pool, work func(ctx context.Context, held func() error) error,
) error {
	tx, err := l.acquire(ctx, pool)
	if err != nil {
		return err
	}
	working, cancel := context.WithCancelCause(ctx)
	holding := &holding{tx: tx, every: l.idle() / 6}
	kept := make(chan struct{})
	go func() { defer close(kept); holding.keep(working, cancel) }()
	defer func() {
		cancel(nil)
		<-kept
		rollBack(ctx, tx)
	}()
	err = work(working, holding.check)
	if lost := context.Cause(working); errors.Is(lost, errLockLost) {
		return lost
	}
	return err
}

func (l Lock) idle() time.Duration { return cmp.Or(l.Idle, lockIdle) }

// acquire tries until it has the lock. It does not queue for it in PostgreSQL: the wait would hold a connection, and
// whatever limits statements would end it.
func (l Lock) acquire(ctx context.Context, pool *pgxpool.Pool) (pgx.Tx, error) {
	began := time.Now()
	var told time.Time
	for {
		tx, err := l.try(ctx, pool)
		if tx != nil || err != nil {
			return tx, err
		}
		holder := l.holder(ctx, pool)
		if time.Since(began) >= l.Wait {
			return nil, fmt.Errorf("%w of %q: %s; waited %v", ErrLocked, l.Name, holder, l.Wait)
		}
		if l.Log != nil && time.Since(told) >= tellLockAgain {
			l.Log.InfoContext(ctx, "waiting for a lock that another process holds", "lock", l.Name, "holder", holder)
			told = time.Now()
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(min(tryLockPause, l.Wait-time.Since(began))):
		}
	}
}

// try returns the transaction that holds the lock, nil if somebody else has it.
func (l Lock) try(ctx context.Context, pool *pgxpool.Pool) (pgx.Tx, error) {
	tx, err := pool.Begin(ctx)
	if err != nil {
		return nil, err
	}
	host, _ := os.Hostname()
	idle, who := fmt.Sprint(l.idle().Milliseconds()), fmt.Sprintf("%s: %s, process %d", l.Name, host, os.Getpid())
	var free bool
	err = tx.QueryRow(ctx, `
		SELECT set_config('idle_in_transaction_session_timeout', $2, true), set_config('application_name', $3, true),
		       pg_try_advisory_xact_lock($1)`, l.Key, idle, who).Scan(nil, nil, &free)
	if err == nil && free {
		return tx, nil
	}
	rollBack(ctx, tx)
	return nil, err
}

// holder tells who holds the lock, as far as that can be seen.
func (l Lock) holder(ctx context.Context, pool *pgxpool.Pool) string {
	var pid int
	var name, address string
	var since time.Time
	err := pool.QueryRow(ctx, `
		SELECT a.pid, a.application_name, COALESCE(host(a.client_addr), 'this machine'),
		       COALESCE(a.xact_start, a.backend_start)
		FROM pg_locks k JOIN pg_stat_activity a USING (pid)
		WHERE k.locktype = 'advisory' AND k.granted AND k.objsubid = 1
		  AND k.database = (SELECT oid FROM pg_database WHERE datname = current_database())
		  AND k.classid::bigint = $1::bigint >> 32 AND k.objid::bigint = $1::bigint & 4294967295 LIMIT 1`, l.Key).
		Scan(&pid, &name, &address, &since)
	if err != nil {
		return "who it is can't be seen"
	}
	return fmt.Sprintf("PostgreSQL's process %d for %q from %s has it since %s",
		pid, name, address, since.UTC().Format(time.DateTime+" MST"))
}

// holding is a lock that is held. A connection does one thing at a time.
type holding struct {
	every time.Duration // between signs of life; one may take three times as long
	mu    sync.Mutex
	tx    pgx.Tx
}

func (h *holding) check() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	// Also while the work is told to stop: it may finish.
	ctx, cancel := context.WithTimeout(context.Background(), 3*h.every)
	defer cancel()
	if _, err := h.tx.Exec(ctx, "SELECT"); err != nil {
		return errLockLost
	}
	return nil
}

// keep gives signs of life until the work is over, or says that the lock is lost.
func (h *holding) keep(working context.Context, lost context.CancelCauseFunc) {
	for {
		select {
		case <-working.Done():
			return
		case <-time.After(h.every):
		}
		if err := h.check(); err != nil {
			lost(err)
			return
		}
	}
}

// rollBack ends a transaction even when ctx has ended, so that its locks are free now.
func rollBack(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
	defer cancel()
	_ = tx.Rollback(ctx)
}
