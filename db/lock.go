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

// Lock is an advisory lock, which one process at a time holds among all that use the database.
//
// It belongs to a transaction and not to a session: behind a connection pooler in transaction mode, a session's lock
// would stay on a connection that another client gets. A heartbeat keeps the transaction busy while the lock is held.
// PostgreSQL ends the transaction when it is idle, so that a process that has vanished holds no lock.
type Lock struct {
	Key  int64
	Name string        // what it is for, as others read it in pg_stat_activity: "cairn migrate"
	Wait time.Duration // for another process to release it; 0: not at all
	Log  *slog.Logger  // logs which process holds it; may be nil
	Idle time.Duration // without a heartbeat, after which PostgreSQL releases it; 0: 30 s
}

// ErrLocked says that another process has held a lock for longer than Wait.
var ErrLocked = errors.New("db: another process holds the lock")

// ErrOneConnection says that a pool has no connection beside the one that holds a lock.
var ErrOneConnection = errors.New("this takes two connections to the database at once: " +
	"set pool_max_conns in its address to 2 or more")

var errLockLost = errors.New("db: the lock was lost with its connection")

const (
	lockIdle       = 30 * time.Second
	lockRetryPause = 500 * time.Millisecond
	logLockEvery   = time.Minute
)

// Hold runs work while it holds the lock, which takes a connection of the pool. The context of work ends when the lock
// is lost. Before a step that must not happen without the lock, work calls held. Errors: ErrLocked, with the process
// that holds it; ErrOneConnection, because work would wait for that connection forever; work's.
func (l Lock) Hold(ctx context.Context, pool *pgxpool.Pool, work func(ctx context.Context, held func() error) error,
) error {
	if pool.Config().MaxConns < 2 {
		return ErrOneConnection
	}
	tx, err := l.acquire(ctx, pool)
	if err != nil {
		return err
	}
	working, cancel := context.WithCancelCause(ctx)
	holding := &holding{tx: tx, every: l.idle() / 6}
	stopped := make(chan struct{})
	go func() { defer close(stopped); holding.heartbeat(working, cancel) }()
	defer func() {
		cancel(nil)
		<-stopped
		rollBack(ctx, tx)
	}()
	err = work(working, holding.check)
	if lost := context.Cause(working); errors.Is(lost, errLockLost) {
		return lost
	}
	return err
}

func (l Lock) idle() time.Duration { return cmp.Or(l.Idle, lockIdle) }

// acquire tries until it has the lock. It does not wait for it in PostgreSQL: that would occupy a connection, and a
// time limit of statements would end it.
func (l Lock) acquire(ctx context.Context, pool *pgxpool.Pool) (pgx.Tx, error) {
	began := time.Now()
	var loggedAt time.Time
	for {
		tx, err := l.try(ctx, pool)
		if tx != nil || err != nil {
			return tx, err
		}
		holder := l.holder(ctx, pool)
		if time.Since(began) >= l.Wait {
			return nil, fmt.Errorf("%w of %q: %s; waited %v", ErrLocked, l.Name, holder, l.Wait)
		}
		if l.Log != nil && time.Since(loggedAt) >= logLockEvery {
			l.Log.InfoContext(ctx, "waiting for a lock that another process holds", "lock", l.Name, "holder", holder)
			loggedAt = time.Now()
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(min(lockRetryPause, l.Wait-time.Since(began))):
		}
	}
}

// try returns the transaction that holds the lock, nil if another process holds it.
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

// holder describes the process that holds the lock, if PostgreSQL shows it.
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
		return "unknown process"
	}
	return fmt.Sprintf("PostgreSQL's process %d for %q from %s has it since %s",
		pid, name, address, since.UTC().Format(time.DateTime+" MST"))
}

// holding is a lock that is held. A connection does one thing at a time.
type holding struct {
	every time.Duration // between heartbeats; one may take three times as long
	mu    sync.Mutex
	tx    pgx.Tx
}

func (h *holding) check() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	// It works even after the end of the work's context: the work may finish a step.
	ctx, cancel := context.WithTimeout(context.Background(), 3*h.every)
	defer cancel()
	if _, err := h.tx.Exec(ctx, "SELECT"); err != nil {
		return errLockLost
	}
	return nil
}

// heartbeat keeps the transaction busy until the work is done, or reports that the lock is lost.
func (h *holding) heartbeat(working context.Context, lost context.CancelCauseFunc) {
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

// rollBack ends a transaction even when ctx has ended, so that its locks are released.
func rollBack(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
	defer cancel()
	_ = tx.Rollback(ctx)
}
