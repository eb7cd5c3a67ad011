package main

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"cairn/db/dbtest"
	"cairn/internal/jobs"
	"cairn/internal/testkit"
)

// behindPooler returns the ways in which a site can reach its database, by name, as variables.
func behindPooler(t *testing.T, database string) map[string][]string {
	t.Helper()
	transaction := dbtest.NewPooler(t, database, "transaction").URL
	session := dbtest.NewPooler(t, database, "session").URL
	return map[string][]string{
		"transaction":              {"DATABASE_URL=" + transaction},
		"session":                  {"DATABASE_URL=" + session},
		"transaction, bypassed":    {"DATABASE_URL=" + transaction, "DIRECT_DATABASE_URL=" + database},
		"none":                     {"DATABASE_URL=" + database},
		"none, statements in text": {"DATABASE_URL=" + database + "&default_query_exec_mode=exec"},
	}
}

// Everything works through PgBouncer with its default settings, and when pgx prepares no statements, which some poolers
// need.
func TestAllWorksThroughAPooler(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	for _, name := range []string{"transaction", "session", "transaction, bypassed", "none, statements in text"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := dbtest.NewEmptyURL(t)
			env := append(behindPooler(t, database)[name], "DATA_DIR="+testkit.DataDir(t),
				"ENCRYPTION_KEY="+testkit.Key1)
			five := startTogether(t, 5, env)
			site := five[0]
			b := testkit.NewBrowser(t)
			b.SignUp(site.url, "ada@example.org")
			b.Connect(site.url, "strava", "ada")
			b.Connect(site.url, "foursquare", "ada")
			testkit.Eventually(t, "the newest activities are there", func() bool {
				_, page := b.Send(http.MethodGet, site.url+"/", nil)
				return page.Find("[data-from~=strava]").Length() > 0 &&
					page.Find("[data-from~=foursquare]").Length() > 0
			})
			b.Check(site.url, "strava")
			testkit.NewBrowser(t).SignIn(site.url, "ada@example.org")
			for _, server := range five[1:] {
				if code := server.end(); code != 0 {
					t.Errorf("exit code %d:\n%s", code, server.logged())
				}
			}
			out := commandOutput(t, env, "sessions", "list", "--user", "ada@example.org")
			if strings.Count(out, "password") < 2 {
				t.Errorf("sessions list prints:\n%s", out)
			}
			if code := site.end(); code != 0 {
				t.Errorf("exit code %d:\n%s", code, site.logged())
			}
			rotated := append(slices.Clone(env), "ENCRYPTION_KEY="+testkit.Key2+","+testkit.Key1)
			if out := commandOutput(t, rotated, "rekey"); !strings.HasPrefix(out, "2 secrets sealed again") {
				t.Errorf("rekey prints: %s", out)
			}
			again := start(t, append([]string{"PORT=" + site.port}, rotated...)...)
			_, page := b.Send(http.MethodGet, again.url+"/connections", nil)
			if page.Find("#card-foursquare[data-state=active]").Length() != 1 {
				t.Errorf("after the restart: %s", page.Find("main").Text())
			}
			for _, server := range append(five, again) {
				wantQuietLog(t, server)
				if strings.HasPrefix(name, "none") == strings.Contains(server.logged(), "a connection pooler stands") {
					t.Errorf("the log is wrong about the pooler:\n%s", server.logged())
				}
			}
			wantNoLocks(t, database)
		})
	}
}

// startTogether starts n servers at the same time, each on its own port.
func startTogether(t *testing.T, n int, env []string) []*serving {
	t.Helper()
	servers := make([]*serving, n)
	for i := range servers {
		servers[i] = launch(t, append([]string{"PORT=" + testkit.FreePort(t)}, env...)...)
	}
	for _, s := range servers {
		s.await()
	}
	return servers
}

// wantQuietLog checks that the log has no warnings or errors.
func wantQuietLog(t *testing.T, server *serving) {
	t.Helper()
	for line := range strings.Lines(server.logged()) {
		if strings.Contains(line, `"level":"WARN"`) || strings.Contains(line, `"level":"ERROR"`) {
			t.Errorf("it logs: %s", line)
		}
	}
}

// wantNoLocks checks that no advisory locks are left behind on the pooler's connections.
func wantNoLocks(t *testing.T, database string) {
	t.Helper()
	if n := testkit.Ask[int](t, database, `
		SELECT count(*)::int FROM pg_locks JOIN pg_database d ON d.oid = database
		WHERE locktype = 'advisory' AND datname = current_database()`); n != 0 {
		t.Errorf("%d locks were left behind", n)
	}
}

// An idle server makes at most one transaction a second.
func TestIdleServerLeavesTheDatabaseAlone(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	postgres := dbtest.NewCluster(t) // without autovacuum, whose transactions would count
	testkit.Execute(t, postgres.URL(), "ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()",
		"CREATE DATABASE transaction", "CREATE DATABASE none")
	others, err := pgxpool.New(t.Context(), postgres.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer others.Close()
	var group errgroup.Group
	for _, name := range []string{"none", "transaction"} {
		database := strings.Replace(postgres.URL(), "/cairn?", "/"+name+"?", 1)
		env := append(behindPooler(t, database)[name], "DATA_DIR="+testkit.DataDir(t), "PORT=0")
		hasty := limits{Jobs: jobs.Limits{FirstReconcile: time.Millisecond, Busy: time.Millisecond}}
		start(t, append(env, limited(hasty))...)
		group.Go(func() error {
			n, err := fewestTransactions(t.Context(), others, name, 30*time.Second, 30)
			t.Logf("pooler: %s; %d transactions in 30 s", name, n)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

// fewestTransactions watches a database from another one until there were at most enough transactions within a time, by
// the database's clock. While a server starts there are more.
func fewestTransactions(
	ctx context.Context, others *pgxpool.Pool, database string, within time.Duration, enough int64,
) (fewest int64, err error) {
	type sample struct {
		n  int64
		at time.Time
	}
	var samples []sample
	fewest = math.MaxInt64
	for deadline := time.Now().Add(testkit.Patience); time.Now().Before(deadline); time.Sleep(time.Second) {
		var now sample
		err := others.QueryRow(ctx, `
			SELECT xact_commit + xact_rollback, clock_timestamp() FROM pg_stat_database WHERE datname = $1`, database).
			Scan(&now.n, &now.at)
		if err != nil {
			return 0, err
		}
		samples = append(samples, now)
		for len(samples) > 1 && now.at.Sub(samples[1].at) >= within {
			samples = samples[1:]
		}
		if now.at.Sub(samples[0].at) < within {
			continue
		}
		if fewest = min(fewest, now.n-samples[0].n); fewest <= enough {
			return fewest, nil
		}
	}
	return fewest, fmt.Errorf("%s: %d transactions in %v, at least", database, fewest, within)
}
