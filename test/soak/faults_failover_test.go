package soak

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

// The primary dies or falls silent, and its standby takes over. Everyone stays signed in, and no server is restarted.
// Silence takes longer, because pgx waits up to 15 seconds to close each connection and free its place in the pool.
func TestFaultStandbyTakesOver(t *testing.T) {
	t.Parallel()
	t.Run("killed", func(t *testing.T) {
		t.Parallel()
		primary := dbtest.NewCluster(t)
		takeOver(t, primary, func() { primary.Stop(syscall.SIGKILL) }, recovery)
	})
	t.Run("silent", func(t *testing.T) {
		t.Parallel()
		primary := dbtest.NewCluster(t)
		takeOver(t, primary, primary.Freeze, 25*time.Second)
	})
}

// takeOver promotes a standby after the primary is lost, and expects that all is well soon afterwards.
func takeOver(t *testing.T, primary *dbtest.Cluster, lose func(), recovery time.Duration) {
	server := start(t, "PORT=0", "DATABASE_URL="+primary.URL()) // migrates
	server.End(syscall.SIGTERM)
	standby := primary.NewStandby()
	server = start(t, "PORT=0", "DATABASE_URL="+either(primary, standby), usual().Variable())
	people := newCanaries(t, server.URL, primary.URL(), 100)
	testkit.Eventually(t, "the standby has all sessions", func() bool {
		return testkit.Ask[int](t, standby.URL(), `SELECT count(*) FROM cairn.sessions`) == len(people.people)
	})
	stop := people.walk(8)
	defer stop()
	people.awaitVisits(visitsInPeace())

	lost := time.Now()
	lose()
	away := func() bool { return get(t, server.URL+"/readyz", nil).status == 503 }
	if !testkit.Within(atMost(probeDeadline+slack), away) {
		t.Error("ready without a primary")
	}
	standby.Promote()
	promoted := time.Now()
	recovery = atMost(recovery)
	writes := testkit.Within(recovery, func() bool {
		return people.rename(t.Context(), people.people[0]) == http.StatusSeeOther
	})
	ready := testkit.Within(recovery, func() bool { return get(t, server.URL+"/readyz", nil).status == http.StatusOK })
	if !writes || !ready {
		t.Errorf("%v after the promotion: writes %v, ready %v", recovery, writes, ready)
	}
	back := time.Since(promoted)
	people.awaitAllServed()
	healed := time.Now()
	people.awaitVisits(visitsInPeace())
	stop()
	refused := people.visits(failed)
	for _, v := range refused {
		if v.ended.Before(lost) || v.ended.After(promoted.Add(recovery)) || v.begun.After(healed) {
			t.Errorf("%s was refused %v after the promotion", v.page, v.ended.Sub(promoted))
		}
	}
	people.mustAllBeSignedIn()
	mustBeSound(t, server)
	t.Logf("promoted %v after the loss, all well %v later; %d pages served, %d refused",
		promoted.Sub(lost).Round(time.Millisecond), back.Round(time.Millisecond),
		len(people.visits(served)), len(refused))
}

// A primary that becomes read-only and hands over to its standby must not keep connections.
func TestFaultPrimaryTurnsReadOnly(t *testing.T) {
	t.Parallel()
	primary := dbtest.NewCluster(t)
	standby := primary.NewStandby()
	server := start(t, "PORT=0", "DATABASE_URL="+either(primary, standby), usual().Variable())
	people := newCanaries(t, server.URL, primary.URL(), 5)
	ada := people.people[0]
	people.during(50)
	testkit.Eventually(t, "the standby has all sessions", func() bool {
		return testkit.Ask[bool](t, standby.URL(), `SELECT to_regclass('cairn.sessions') IS NOT NULL`) &&
			testkit.Ask[int](t, standby.URL(), `SELECT count(*) FROM cairn.sessions`) == len(people.people)
	})
	readOnly(t, primary, "on")
	testkit.Eventually(t, "/readyz notices", func() bool { return get(t, server.URL+"/readyz", nil).status == 503 })
	standby.Promote()
	promoted := time.Now()
	writes := func() bool { return people.rename(t.Context(), ada) == http.StatusSeeOther }
	if !testkit.Within(atMost(recovery), writes) {
		t.Errorf("nothing can be written %v after the promotion", atMost(recovery))
	}
	t.Logf("writes work %v after the promotion", time.Since(promoted).Round(time.Millisecond))
	people.mustAllBeSignedIn()
	mustBeSound(t, server)
	// The connection that listens is checked every 15 s.
	testkit.Eventually(t, "no connection is on the former primary", func() bool {
		return testkit.Ask[int](t, primary.URL(), `
			SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cairn'`) == 0
	})
}

// While the database is read-only, the server is not ready, but pages can still be read.
func TestFaultReadOnly(t *testing.T) {
	t.Parallel()
	postgres := dbtest.NewCluster(t)
	server := start(t, "PORT=0", "DATABASE_URL="+postgres.URL())
	people := newCanaries(t, server.URL, postgres.URL(), 5)
	ada := people.people[0]
	for _, state := range []struct {
		readOnly             string
		ready, read, written int
	}{{"on", 503, 200, 503}, {"off", 200, 200, 303}, {"on", 503, 200, 503}, {"off", 200, 200, 303}} {
		readOnly(t, postgres, state.readOnly)
		testkit.Eventually(t, "/readyz notices", func() bool {
			select {
			case <-server.Done:
				t.Fatalf("the server ended:\n%s", server.Logged())
			default:
			}
			return get(t, server.URL+"/readyz", nil).status == state.ready
		})
		if status := people.look(t.Context(), ada, "/"); status != state.read {
			t.Errorf("read-only %s: the page answers %d", state.readOnly, status)
		}
		if status := people.rename(t.Context(), ada); status != state.written {
			t.Errorf("read-only %s: the form answers %d", state.readOnly, status)
		}
		people.look(t.Context(), ada, "/") // removes the notice about it, which is a write
	}
	people.mustAllBeSignedIn()
	mustBeSound(t, server)
}

// A server that starts while its database is read-only does its background work once the database can be written to.
func TestFaultStartOnReadOnly(t *testing.T) {
	t.Parallel()
	postgres := dbtest.NewCluster(t)
	env := []string{
		"DATA_DIR=" + testkit.DataDir(t),
		"PORT=0",
		"DATABASE_URL=" + postgres.URL(),
		"STRAVA_CLIENT_ID=1", // without keys there would be a sandbox, which writes
		"STRAVA_CLIENT_SECRET=2",
	}
	if out, err := serverCommand(t, []string{"migrate"}, env...).CombinedOutput(); err != nil {
		t.Fatalf("migrate: %v\n%s", err, out)
	}
	readOnly(t, postgres, "on")
	server := start(t, env...)
	testkit.Eventually(t, "the log says that background work waits", func() bool {
		return strings.Contains(server.Logged(), "background work waits for the database")
	})
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 503, "/": 200} {
		if status := get(t, server.URL+path, nil).status; status != want {
			t.Errorf("while it is read-only %s answers %d, want %d", path, status, want)
		}
	}
	readOnly(t, postgres, "off")
	testkit.Eventually(t, "/readyz notices", func() bool { return get(t, server.URL+"/readyz", nil).status == 200 })
	testkit.Eventually(t, "background work is done", func() bool {
		return testkit.Ask[int](t, postgres.URL(), `
			SELECT count(*) FROM cairn.river_job WHERE kind = 'look' AND state = 'completed'`) > 0
	})
	mustBeSound(t, server)
}

// either returns a URL for the one of two servers that can be written to.
func either(one, other *dbtest.Cluster) string {
	return "postgres://cairn@" + one.Address() + "," + other.Address() + "/cairn?" + url.Values{
		"sslmode": {"disable"}, "target_session_attrs": {"read-write"}, "pool_max_conns": {"4"},
	}.Encode()
}

func readOnly(t *testing.T, postgres *dbtest.Cluster, value string) {
	t.Helper()
	conn := testkit.Connect(t, postgres.URL())
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	for _, statement := range []string{
		`ALTER SYSTEM SET default_transaction_read_only = ` + value,
		`SELECT pg_reload_conf()`,
	} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}
