package soak

import (
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

// faultTime is how long make fault-test keeps restarting PostgreSQL. That run has the machine to itself and checks the
// times that docs/operations.md promises. In make test faultTime is 0: each fault comes once or twice, and tests only
// check what has to happen however busy the machine is.
func faultTime() time.Duration {
	minutes, err := strconv.ParseFloat(os.Getenv("FAULT_MINUTES"), 64)
	if err != nil {
		return 0
	}
	return time.Duration(minutes * float64(time.Minute))
}

// atMost returns promised in make fault-test, and otherwise as long as a busy machine may take.
func atMost(promised time.Duration) time.Duration {
	if faultTime() > 0 {
		return promised
	}
	return testkit.Patience
}

// crowdInPeace is how many people visit pages.
func crowdInPeace() int {
	if faultTime() > 0 {
		return 200
	}
	return 50
}

// walkers is how many of them are on their way at once: more than a pool of 4 has connections. Beside other tests on a
// busy machine, twelve pages at once may each take longer than the ten seconds that a page has.
func walkers() int {
	if faultTime() > 0 {
		return 12
	}
	return 6
}

// visitsInPeace is how many visits there are before and after a fault.
func visitsInPeace() int {
	if faultTime() > 0 {
		return 2000
	}
	return 60
}

// outage is when PostgreSQL was asked to stop, when it answered again, and when every person was served again.
type outage struct{ begun, ended, healed time.Time }

// covers reports whether a visit may have been refused because of the outage.
func (o outage) covers(v visit) bool {
	if faultTime() > 0 {
		return v.ended.After(o.begun) && v.ended.Before(o.ended.Add(grace))
	}
	return v.ended.After(o.begun) && v.begun.Before(o.healed)
}

// People visit pages while PostgreSQL restarts, fast and immediate. No one sees another's page or is signed out, and
// pages are refused only during a restart and for two seconds after it.
func TestFaultRestarts(t *testing.T) {
	t.Parallel()
	postgres := dbtest.NewCluster(t)
	server := start(t, "PORT=0", "DATABASE_URL="+postgres.URL(), usual().Variable())
	people := newCanaries(t, server.URL, postgres.URL(), crowdInPeace())
	stop := people.walk(16)
	defer stop()

	var outages []outage
	for begun := time.Now(); len(outages) < 2 || time.Since(begun) < faultTime(); {
		people.awaitVisits(visitsInPeace())
		o := outage{begun: time.Now()}
		postgres.Stop([]syscall.Signal{syscall.SIGINT, syscall.SIGQUIT}[len(outages)%2])
		postgres.Start()
		o.ended = time.Now()
		people.awaitAllServed()
		o.healed = time.Now()
		outages = append(outages, o)
	}
	people.awaitVisits(visitsInPeace())
	stop()
	var away, last time.Duration
	for _, o := range outages {
		away += o.ended.Sub(o.begun)
	}
	for _, v := range people.visits(failed) {
		covered := false
		for _, o := range outages {
			if o.covers(v) {
				covered = true
				last = max(last, v.ended.Sub(o.ended))
			}
		}
		if !covered {
			t.Errorf("%s was refused while PostgreSQL ran", v.page)
		}
	}
	people.mustAllBeSignedIn()
	mustBeSound(t, server)
	t.Logf("%d restarts, %v without PostgreSQL in all; %d pages served, slowest %v; "+
		"%d refused (503), slowest %v, the last %v after a restart",
		len(outages), away.Round(time.Millisecond), len(people.visits(served)), slowest(people.visits(served)),
		len(people.visits(failed)), slowest(people.visits(failed)), last.Round(time.Millisecond))
}
