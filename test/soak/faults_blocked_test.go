package soak

import (
	"net/http"
	"testing"
	"time"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

// A transaction locks a table, and all connections of the pool wait for it. Requests that wait are refused in time, the
// rest of the site works, and everything works once the lock is gone.
func TestFaultBlockedConnections(t *testing.T) {
	t.Parallel()
	for name, tables := range map[string]string{
		"sessions":    "cairn.sessions",
		"users":       "cairn.users",
		"connections": "cairn.connections",
		"all":         "cairn.sessions, cairn.users, cairn.connections",
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); block(t, tables) })
	}
}

func block(t *testing.T, tables string) {
	database := dbtest.NewURL(t)
	server := start(t, "PORT=0", "DATABASE_URL="+database+"&pool_max_conns=4", usual().Variable())
	people := newCanaries(t, server.URL, database, 50)
	release := testkit.Lock(t, database, tables, "ACCESS EXCLUSIVE")
	stop := people.walk(40)
	defer stop()
	begun := time.Now()
	testkit.Eventually(t, "waiting requests are refused, and the lock has lasted", func() bool {
		for path, limit := range map[string]time.Duration{
			"/healthz": slack, "/": slack, "/login": slack, "/readyz": probeDeadline + slack,
		} {
			a := get(t, server.URL+path, nil)
			busy := path == "/readyz" && a.status == http.StatusServiceUnavailable
			if a.status != http.StatusOK && !busy || a.took > atMost(limit) {
				t.Errorf("while tables are locked, %s answers %d after %v", path, a.status, a.took)
			}
		}
		return len(people.visits(failed)) >= 10 && time.Since(begun) >= frozenFor()
	})
	release()
	released := time.Now()
	long := released.Sub(begun).Round(time.Millisecond)
	answered := func() bool { return people.look(t.Context(), people.people[0], "/account") == http.StatusOK }
	if !testkit.Within(atMost(recovery), answered) {
		t.Errorf("pages are still missing %v after the lock is gone", atMost(recovery))
	}
	back := time.Since(released)
	people.awaitAllServed()
	healed := time.Now()
	people.awaitVisits(visitsInPeace())
	stop()
	for _, v := range people.visits(func(v visit) bool { return v.ended.Sub(v.begun) > atMost(allowed(v)+slack) }) {
		t.Errorf("%s took %v", v.page, v.ended.Sub(v.begun).Round(time.Millisecond))
	}
	if late := people.visits(func(v visit) bool { return failed(v) && v.begun.After(healed) }); len(late) > 0 {
		t.Errorf("%d requests were refused after pages were back", len(late))
	}
	people.mustAllBeSignedIn()
	mustBeSound(t, server)
	t.Logf("%s locked for %v: refused %s; pages were back after %v",
		tables, long, tally(people.visits(failed)), back.Round(time.Millisecond))
}
