package db_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"cairn/db"
	"cairn/db/dbtest"
	"cairn/internal/testkit"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"
)

// modes are those in which PgBouncer is supported, as it comes: it refuses the settings that a session begins with,
// and in transaction mode it takes sessions apart.
var modes = []string{"transaction", "session"}

func TestFiveInstancesMigrateThroughAPooler(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			url := dbtest.NewEmptyURL(t)
			pooler := dbtest.NewPooler(t, url, mode)
			instances, ctx := errgroup.WithContext(t.Context())
			for range 5 {
				instances.Go(func() error {
					pool, err := db.Open(ctx, pooler.URL+"&pool_max_conns=4", quiet())
					if err != nil {
						return err
					}
					defer pool.Close()
					return db.Migrate(ctx, pool, quiet())
				})
			}
			if err := instances.Wait(); err != nil {
				t.Fatal(err)
			}
			direct := open(t, url)
			if err := db.Ready(t.Context(), direct); err != nil {
				t.Error(err)
			}
			var twice, locks int
			err := direct.QueryRow(t.Context(), `
				SELECT (SELECT count(*) - count(DISTINCT version_id) FROM cairn.goose_db_version),
				       (SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
				        WHERE locktype = 'advisory' AND datname = current_database())`).
				Scan(&twice, &locks)
			if err != nil || twice != 0 || locks != 0 {
				t.Errorf("%d migrations applied twice, %d locks left behind (error %v)", twice, locks, err)
			}
		})
	}
}

// A pooled connection keeps the limits of a statement and of a transaction, and leaves none of them to others.
func TestLimitsThroughAPooler(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			pooler := dbtest.NewPooler(t, dbtest.NewURL(t), mode)
			mustLimitStatements(t, pooler.URL)
			// A limit that no statement of a busy machine reaches.
			pool := open(t, pooler.URL+"&statement_timeout=1h&pool_max_conns=2")
			if !db.Pooled(pool) {
				t.Fatal("the pooler is not detected")
			}
			within := map[string]string{}
			err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
				for _, name := range []string{
					"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout",
				} {
					var value string
					if err := tx.QueryRow(t.Context(), "SELECT current_setting($1)", name).Scan(&value); err != nil {
						return err
					}
					within[name] = value
				}
				return nil
			})
			if err != nil || within["lock_timeout"] != "5s" || within["statement_timeout"] != "1h" ||
				within["idle_in_transaction_session_timeout"] != "30s" {
				t.Errorf("a transaction has %v (error %v)", within, err)
			}
			plain, err := pgx.Connect(t.Context(), pooler.URL+"&default_query_exec_mode=exec")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = plain.Close(context.Background()) }()
			var after string
			err = plain.QueryRow(t.Context(), "SELECT current_setting('statement_timeout')").Scan(&after)
			if err != nil || after != "0" {
				t.Errorf("another client of the pooler has a statement_timeout of %s (error %v)", after, err)
			}
			eventually(t, pool, `
				SELECT count(*) = 0 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(6%' AND state = 'active'
				AND datname = current_database()`)
		})
	}
}

// mustLimitStatements checks that a statement ends at its time limit. On a busy machine, opening the pool may exceed
// that limit, and is tried again.
func mustLimitStatements(t *testing.T, url string) {
	t.Helper()
	var hasty *pgxpool.Pool
	testkit.Eventually(t, "the pool opens", func() bool {
		var err error
		hasty, err = db.Open(t.Context(), url+"&statement_timeout=300ms&pool_max_conns=1", quiet())
		return err == nil
	})
	defer hasty.Close()
	begun := time.Now()
	_, err := hasty.Exec(t.Context(), "SELECT pg_sleep(600)")
	if err == nil || time.Since(begun) > testkit.Patience {
		t.Errorf("a statement ended after %v with %v", time.Since(begun), err)
	}
}

// eventually waits until a query returns true.
func eventually(t *testing.T, pool interface {
	QueryRow(context.Context, string, ...any) pgx.Row
}, query string) {
	t.Helper()
	testkit.Eventually(t, query, func() (done bool) {
		if err := pool.QueryRow(t.Context(), query).Scan(&done); err != nil {
			t.Fatal(err)
		}
		return done
	})
}

func TestPoolerModes(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	ignored := "ignore_startup_parameters = search_path,statement_timeout,lock_timeout," +
		"idle_in_transaction_session_timeout,plan_cache_mode"
	for name, tt := range map[string]struct {
		mode, setting string
		want          string // "": no pooler
	}{
		"transaction":           {"transaction", "", "transaction"},
		"session":               {"session", "", "session"},
		"ignoring, transaction": {"transaction", ignored, "transaction"},
		"ignoring, session":     {"session", ignored, "session"},
		"round robin":           {"transaction", "server_round_robin = 1", "transaction"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pooler := dbtest.NewPooler(t, dbtest.NewURL(t), tt.mode, tt.setting)
			report, err := db.Inspect(t.Context(), open(t, pooler.URL))
			if err != nil || report.Pooler != tt.want {
				t.Errorf("the pooler's mode is %q (error %v)", report.Pooler, err)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		pool := dbtest.New(t)
		report, err := db.Inspect(t.Context(), pool)
		if err != nil || report.Pooler != "" || db.Pooled(pool) {
			t.Errorf("there is no pooler, but %q (error %v)", report.Pooler, err)
		}
	})
}

func TestPoolersThatCannotBeUsed(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	url := dbtest.NewURL(t)
	for name, tt := range map[string]struct{ mode, parameter, want string }{
		"statement mode":      {"statement", "", "pool_mode"},
		"refused parameter":   {"transaction", "&jit=off", "parameter jit"},
		"refused options":     {"session", "&options=-c%20work_mem%3D8MB", "parameter options"},
		"refused credentials": {"session", "&user=unknown", "refuses the user"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pooler := dbtest.NewPooler(t, url, tt.mode)
			ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
			defer cancel()
			_, err := db.Open(ctx, pooler.URL+tt.parameter, quiet())
			if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Without a pooler statements are prepared, and keep their plans.
func TestStatementsArePreparedWithoutAPooler(t *testing.T) {
	t.Parallel()
	direct := dbtest.NewURL(t)
	for url, want := range map[string]bool{direct: true, dbtest.NewPooler(t, direct, "session").URL: false} {
		pool := open(t, url+"&pool_max_conns=1")
		var prepared bool
		for range 2 {
			err := pool.QueryRow(t.Context(), `
				SELECT count(*) > 0 FROM pg_prepared_statements WHERE $1::text <> ''`, "x").Scan(&prepared)
			if err != nil {
				t.Fatal(err)
			}
		}
		if prepared != want {
			t.Errorf("through a pooler %v: statements are prepared: %v", db.Pooled(pool), prepared)
		}
	}
}
