package soak

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
	"cairn/internal/testkit/process"
)

// A slow line, one that cuts connections, and one that delivers data in pieces lead to late or refused answers, but to
// no wrong ones, and leave nothing open in the server. A second server on a good line shows what is normal.
func TestFaultBadLine(t *testing.T) {
	t.Parallel()
	const pool = 4
	postgres := dbtest.NewCluster(t)
	line := newNetwork(t, postgres.Address())
	good := start(t, "PORT=0", "DATABASE_URL="+postgres.URL()+"&pool_max_conns=4")
	bad := start(t, "PORT=0", "DATABASE_URL="+line.url()+"&pool_max_conns=4", usual().Variable())
	usual := max(descriptors(t, good), descriptors(t, bad))
	people := newCanaries(t, good.URL, postgres.URL(), 50)
	people.during(visitsInPeace())
	if refused := people.visits(failed); len(refused) > 0 {
		t.Errorf("%d requests were refused on a good line", len(refused))
	}

	for _, fault := range []struct {
		name, kind string
		toxicity   float64 // the share of connections
		attributes map[string]any
		mayRefuse  bool
	}{
		{"500 ms ± 400 later", "latency", 1, map[string]any{"latency": 500, "jitter": 400}, true},
		{"half of the connections reset", "reset_peer", 0.5, map[string]any{"timeout": 50}, true},
		{
			"in pieces of 8 bytes", "slicer", 1,
			map[string]any{"average_size": 8, "size_variation": 4, "delay": 50}, false,
		},
	} {
		people.site, people.seen = bad.URL, nil
		line.add(fault.kind, "downstream", fault.toxicity, fault.attributes)
		people.during(visitsInPeace() / 2)
		refused := people.visits(failed)
		t.Logf("%s: served %s; refused %s", fault.name, tally(people.visits(served)), tally(refused))
		if len(people.visits(served)) == 0 || len(refused) > 0 && !fault.mayRefuse {
			t.Errorf("%s: %d served, %d refused", fault.name, len(people.visits(served)), len(refused))
		}
		for _, v := range people.visits(func(v visit) bool { return v.ended.Sub(v.begun) > atMost(allowed(v)+slack) }) {
			t.Errorf("%s: %s took %v", fault.name, v.page, v.ended.Sub(v.begun))
		}
		line.heal()
		if !testkit.Within(atMost(recovery), func() bool { return get(t, bad.URL+"/readyz", nil).status == 200 }) {
			t.Errorf("%s: not ready %v after the end", fault.name, atMost(recovery))
		}
	}
	people.mustAllBeSignedIn()
	mustBeSound(t, bad)
	people.client.CloseIdleConnections()
	closed := func() bool { return max(descriptors(t, good), descriptors(t, bad)) <= usual+pool }
	if !testkit.Within(testkit.Patience, closed) {
		t.Error("descriptors are left open")
	}
	t.Logf("%d descriptors are left open, %d on a good line, %d before the first request",
		descriptors(t, bad), descriptors(t, good), usual)
	left, normal := goroutines(bad), goroutines(good)
	if len(left) > len(normal)+pool {
		t.Errorf("%d goroutines are left, %d are usual: %s", len(left), len(normal), strings.Join(left, "; "))
	}
	t.Logf("%d goroutines are left, %d are usual", len(left), len(normal))
}

// A distant database makes pages slow. Up to supportedRoundTrip none is refused. Beyond it, only pages that would take
// longer than their deadline are. Prints the table of docs/operations.md, "How large".
func TestFaultFarDatabase(t *testing.T) {
	t.Parallel()
	postgres := dbtest.NewCluster(t)
	line := newNetwork(t, postgres.Address())
	server := start(t, "PORT=0",
		"DATABASE_URL="+line.url()+"&pool_max_conns=4", usual().Variable())
	people := newCanaries(t, server.URL, postgres.URL(), 50)
	for _, far := range []int{0, 50, 200, 500, 1000} {
		people.seen = nil
		if far > 0 {
			line.add("latency", "downstream", 1, map[string]any{"latency": far})
		}
		people.during(visitsInPeace() / 10)
		all, refused := people.visits(func(visit) bool { return true }), people.visits(failed)
		testkit.Row(t, testkit.Cell("%d ms", far),
			testkit.Cell("%.0f %%", 100-100*float64(len(refused))/float64(max(1, len(all)))),
			testkit.Cell("%.1f s", slowest(all).Seconds()))
		if len(all) == 0 || len(refused) > 0 && far <= supportedRoundTrip {
			t.Errorf("%d ms away: %d of %d are refused: %s", far, len(refused), len(all), tally(refused))
		}
		for _, v := range refused {
			if took := v.ended.Sub(v.begun); took < pageDeadline-time.Second || took > atMost(allowed(v)+slack) {
				t.Errorf("%d ms away: %s is refused after %v", far, v.page, took)
			}
		}
		line.heal()
	}
	people.mustAllBeSignedIn()
	mustBeSound(t, server)
}

// supportedRoundTrip is the longest round trip to the database with which all pages are served, in milliseconds
// (docs/operations.md).
const supportedRoundTrip = 200

// during has some callers walk for this many visits.
func (c *canaries) during(visits int) {
	stop := c.walk(8)
	c.awaitVisits(visits)
	stop()
}

// descriptors counts a server's open files on Linux, and returns 0 elsewhere. Close our clients' connections first.
func descriptors(t *testing.T, p *process.Process) int {
	t.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}

// goroutines ends a server with SIGQUIT, on which Go prints all goroutines, and returns what created them.
func goroutines(p *process.Process) (creators []string) {
	p.End(syscall.SIGQUIT)
	for line := range strings.Lines(p.Logged()) {
		if creator, ok := strings.CutPrefix(line, "created by "); ok {
			creators = append(creators, strings.TrimSpace(creator))
		}
	}
	return creators
}
