package db_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cairn/db"
	"cairn/db/dbtest"
	"cairn/internal/testkit"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const anyKey = 0x6b6579

func TestLockIsHeldByOne(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	lock := db.Lock{Key: anyKey, Name: "a test"}
	err := lock.Hold(t.Context(), pool, func(ctx context.Context, held func() error) error {
		lock.Wait = 300 * time.Millisecond
		err := lock.Hold(ctx, pool, func(context.Context, func() error) error { return errors.New("two have it") })
		if !errors.Is(err, db.ErrLocked) || !strings.Contains(err.Error(), `for "a test: `) {
			t.Errorf("a second one: %v", err)
		}
		return held()
	})
	if err != nil {
		t.Error(err)
	}
	if err := lock.Hold(t.Context(), pool, func(context.Context, func() error) error { return nil }); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestMigrateNamesTheHolderOfTheLock(t *testing.T) {
	t.Parallel()
	url := dbtest.NewEmptyURL(t)
	acquireLock(t, url+"&application_name=sleeper")
	err := db.Migrator{Pool: open(t, url), Log: quiet(), LockWait: 100 * time.Millisecond}.Up(t.Context())
	if !errors.Is(err, db.ErrLocked) || !strings.Contains(err.Error(), `"sleeper"`) {
		t.Errorf("got %v", err)
	}
}

// Work ends when its lock is lost, because another process may hold it by then.
func TestLockThatIsLost(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	lock := db.Lock{Key: anyKey, Name: "a test", Idle: 3 * time.Second} // so it is checked every half second
	err := lock.Hold(t.Context(), pool, func(ctx context.Context, held func() error) error {
		execute(t, pool, `
			SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE application_name LIKE 'a test: %' AND datname = current_database()`)
		<-ctx.Done()
		if held() == nil {
			t.Error("a lost lock counts as held")
		}
		return ctx.Err()
	})
	if err == nil || !strings.Contains(err.Error(), "the lock was lost") {
		t.Errorf("got %v", err)
	}
}

// A process that vanishes silently, such as one whose machine has lost its network, keeps no lock, with a pooler or
// without.
func TestLockOfAProcessThatVanishes(t *testing.T) {
	t.Parallel()
	for _, mode := range append(modes, "") {
		t.Run("pooler "+mode, func(t *testing.T) {
			t.Parallel()
			direct := dbtest.NewURL(t)
			through := direct
			if mode != "" {
				through = dbtest.NewPooler(t, direct, mode).URL
			}
			relay := newRelay(t, through)
			lock := db.Lock{Key: anyKey, Name: "a test", Idle: 600 * time.Millisecond}
			gone := open(t, relay.url)
			err := lock.Hold(t.Context(), gone, func(context.Context, func() error) error {
				relay.silent.Store(true)
				successor := db.Lock{Key: anyKey, Name: "a test", Wait: testkit.Patience}
				return successor.Hold(t.Context(), open(t, direct), func(context.Context, func() error) error {
					return nil
				})
			})
			if err != nil && !strings.Contains(err.Error(), "the lock was lost") {
				t.Error(err)
			}
		})
	}
}

// relay passes bytes on until it is silent. Then it passes no more, but closes nothing.
type relay struct {
	url    string
	silent atomic.Bool
}

func newRelay(t *testing.T, database string) *relay {
	t.Helper()
	config, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	listener := listen(t)
	r := &relay{}
	u := &url.URL{
		Scheme: "postgres", User: url.UserPassword(config.User, config.Password), Host: listener.Addr().String(),
		Path: "/" + config.Database, RawQuery: "sslmode=disable",
	}
	r.url = u.String()
	serve(t, listener, func(conn net.Conn) {
		real, err := net.Dial(pgconn.NetworkAddress(config.Host, config.Port))
		if err != nil {
			return
		}
		over := make(chan struct{})
		context.AfterFunc(t.Context(), func() { _, _ = real.Close(), conn.Close(); close(over) })
		go r.pass(real, conn)
		r.pass(conn, real)
		if r.silent.Load() {
			<-over
		}
		_ = real.Close()
	})
	return r
}

func (r *relay) pass(to io.Writer, from io.Reader) {
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if err != nil || r.silent.Load() {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// Migrate waits for a database that has no connection left.
func TestMigrateWaitsForConnections(t *testing.T) {
	t.Parallel()
	url := dbtest.NewEmptyURL(t)
	admin := open(t, url)
	var role string
	err := admin.QueryRow(t.Context(), "SELECT replace(current_database(), 'cairn_test', 'cairn_role')").Scan(&role)
	if err != nil {
		t.Fatal(err)
	}
	execute(t, admin, "CREATE ROLE "+role+" LOGIN CONNECTION LIMIT 2")
	t.Cleanup(func() {
		_, _ = admin.Exec(context.Background(), "DROP SCHEMA IF EXISTS cairn CASCADE; DROP ROLE "+role)
	})
	execute(t, admin, "CREATE SCHEMA cairn AUTHORIZATION "+role)
	limited := open(t, url+"&user="+role)
	lines, log := newJournal()
	done := make(chan error, 1)
	go func() { done <- db.Migrate(t.Context(), limited, log) }()
	<-lines.first
	execute(t, admin, "ALTER ROLE "+role+" CONNECTION LIMIT 5")
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !strings.Contains(lines.String(), "no connection left") {
		t.Errorf("the log does not mention the wait: %s", lines)
	}
}

// Open waits for a pooler that accepts no more clients at the moment.
func TestOpenWaitsForAPooler(t *testing.T) {
	t.Parallel()
	pooler := dbtest.NewPooler(t, dbtest.NewURL(t), "transaction", "max_client_conn = 1")
	first, err := pgx.Connect(t.Context(), pooler.URL)
	if err != nil {
		t.Fatal(err)
	}
	lines, log := newJournal()
	go func() { <-lines.first; _ = first.Close(context.Background()) }()
	pool, err := db.Open(t.Context(), pooler.URL+"&pool_max_conns=1", log)
	if err != nil {
		t.Fatal(err)
	}
	pool.Close()
	if !strings.Contains(lines.String(), "has no connection left") {
		t.Errorf("the log does not mention the wait: %s", lines)
	}
}

// The check whether an idle connection is still good takes no transaction.
func TestIdleConnectionsAreCheckedWithoutTransactions(t *testing.T) {
	t.Parallel()
	direct := dbtest.NewURL(t)
	pooler := dbtest.NewPooler(t, direct, "transaction").URL
	for name, url := range map[string]string{"direct": direct, "pooler": pooler} {
		pool := open(t, url+"&pool_max_conns=1")
		conn, err := pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		pid := conn.Conn().PgConn().PID()
		before := transactions(t, conn.Conn())
		for range 50 {
			if pool.Config().ShouldPing(t.Context(), idleFor(conn.Conn(), time.Hour)) {
				t.Fatalf("%s: the connection does not answer", name)
			}
		}
		if after := transactions(t, conn.Conn()); after-before > 10 {
			t.Errorf("%s: 50 checks made %d transactions", name, after-before)
		}
		conn.Release()
		if again, err := pool.Acquire(t.Context()); err != nil || again.Conn().PgConn().PID() != pid {
			t.Errorf("%s: another connection (error %v)", name, err)
		} else {
			again.Release()
		}
	}
}

func idleFor(conn *pgx.Conn, d time.Duration) pgxpool.ShouldPingParams {
	return pgxpool.ShouldPingParams{Conn: conn, IdleDuration: d}
}

// transactions counts the transactions of the database, including its own. PostgreSQL counts those of a connection when
// it is idle.
func transactions(t *testing.T, conn *pgx.Conn) (n int64) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), "SELECT pg_stat_force_next_flush()"); err != nil {
		t.Fatal(err)
	}
	err := conn.QueryRow(t.Context(), `
		SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
