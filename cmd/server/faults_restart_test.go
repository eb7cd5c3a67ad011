package main

import (
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"cairn/db/dbtest"
)

// faultTime is how long the canaries walk while PostgreSQL restarts again and again. make fault-test has the full time; make
// test the shortest that has everything in it.
func faultTime(t *testing.T) (long time.Duration, full bool) {
	t.Helper()
	minutes, err := strconv.ParseFloat(os.Getenv("FAULT_MINUTES"), 64)
	if err != nil {
		return 6 * time.Second, false
	}
	return time.Duration(minutes * float64(time.Minute)), true
}

// outage is from when PostgreSQL is told to stop until it answers again.
type outage struct{ begun, ended time.Time }

// Two hundred people look around while PostgreSQL restarts, in both ways. Nobody sees another's page, nobody is signed out,
// and pages are missing only during a restart and for two seconds after it.
func TestFaultRestarts(t *testing.T) {
	t.Parallel()
	const grace = 2 * time.Second
	duration, full := faultTime(t)
	postgres := dbtest.NewCluster(t)
	server := start(t, "DATA_DIR="+dataDir(t), "PORT=0", "DATABASE_URL="+postgres.URL())
	people := newCanaries(t, server.url, postgres.URL(), 200)
	stop := people.walk(16)
	defer stop()

	calm := time.Second
	if full {
		calm = 8 * time.Second
	}
	var outages []outage
	for begun := time.Now(); time.Since(begun) < duration; {
		time.Sleep(calm)
		o := outage{begun: time.Now()}
		postgres.Stop([]syscall.Signal{syscall.SIGINT, syscall.SIGQUIT}[len(outages)%2])
		postgres.Start()
		o.ended = time.Now()
		outages = append(outages, o)
		time.Sleep(grace)
	}
	stop()
	var away, last time.Duration
	for _, o := range outages {
		away += o.ended.Sub(o.begun)
	}
	for _, v := range people.visits(failed) {
		covered := false
		for _, o := range outages {
			if v.ended.After(o.begun) && v.ended.Before(o.ended.Add(grace)) {
				covered = true
				last = max(last, v.ended.Sub(o.ended))
			}
		}
		if !covered {
			t.Errorf("%s was refused while PostgreSQL ran", v.page)
		}
	}
	people.mustAllBeSignedIn()
	server.mustBeSound()
	t.Logf("%d restarts, %v without PostgreSQL in all; %d pages served, slowest %v; %d refused (503), slowest %v, the last %v after a restart",
		len(outages), away.Round(time.Millisecond), len(people.visits(served)), slowest(people.visits(served)),
		len(people.visits(failed)), slowest(people.visits(failed)), last.Round(time.Millisecond))
}
