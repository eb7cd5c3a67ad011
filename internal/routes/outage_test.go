package routes_test

import (
	"fmt"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cairn/internal/sandbox"
	"cairn/internal/testkit"
)

// Two providers that hang and drip hold up a few calls each. Pages, the third provider and its
// background work do not notice, and afterwards nothing is left behind. The test runs alone,
// because it counts the goroutines of the process.
func TestProvidersThatHangDelayNoOthers(t *testing.T) {
	testkit.Long(t)
	calls := patientCalls
	calls.Call, calls.Queue = 6*time.Second, 2*time.Second
	s := newSiteWith(t, options{works: true, calls: calls})
	set := func(provider, mode string) {
		t.Helper()
		if err := s.sandbox.SetSwitch(t.Context(), provider, sandbox.API, mode); err != nil {
			t.Fatal(err)
		}
	}
	var people []browser
	for _, person := range []string{"ada", "max", "moss", "zofie"} {
		b := signedUp(t, s, person+"@example.org")
		for _, provider := range []string{sandbox.Strava, sandbox.Foursquare, sandbox.Garmin} {
			b.connect(provider, person).to("/")
		}
		people = append(people, b)
	}
	awaitSyncs(t, s)
	forgetSyncs(t, s)
	goroutines, descriptors := rest(t, people)
	set(sandbox.Strava, sandbox.ModeHang)
	set(sandbox.Foursquare, sandbox.ModeDrip)
	enqueueSyncs(t, s, sandbox.Strava, 50)
	enqueueSyncs(t, s, sandbox.Foursquare, 50)
	var pressed sync.WaitGroup
	var enough atomic.Bool
	statuses := make([]int, 100)
	for i := range statuses {
		path := "/connections/" + []string{sandbox.Strava, sandbox.Foursquare}[i%2] + "/check"
		pressed.Go(func() { // again and again: on a busy machine the first calls end before the last begin
			for again := true; again; again = !enough.Load() {
				statuses[i] = press(people[i/2%4], path)
			}
		})
	}
	testkit.Eventually(t, "calls to both are under way, and all their workers are at it", func() bool {
		return underWay() >= 24 && count(t, s, `SELECT count(*) FROM cairn.river_job WHERE state = 'running'`) == 8
	})
	enough.Store(true)
	enqueueSyncs(t, s, sandbox.Garmin, 1)
	began := time.Now()
	var slowest time.Duration
	for range 10 {
		for _, ask := range []func() answer{
			func() answer { return people[0].get("/connections").want(200, "#card-strava", "Strava") },
			func() answer { return people[1].get("/account").want(200, "h1", "") },
			func() answer { return people[2].post("/connections/garmin/check").to("/connections#card-garmin") },
		} {
			asked := time.Now()
			ask()
			slowest = max(slowest, time.Since(asked))
		}
		if n := underWay(); n > 2*16+1 { // Garmin's job may be at it too
			t.Errorf("%d calls are under way, want 16 to each provider at most", n)
		}
	}
	if slowest >= calls.Call {
		t.Errorf("someone else waited for %v, as long as a call that hangs", slowest)
	}
	testkit.Eventually(t, "Garmin's job is done", func() bool {
		return count(t, s, `SELECT count(*) FROM cairn.river_job WHERE queue = 'garmin' AND state = 'completed'`) == 1
	})
	t.Logf("the slowest of 30 other requests took %v, Garmin's job was done after %v; "+
		"%d goroutines, %d descriptors (%d and %d before)",
		slowest, time.Since(began), runtime.NumGoroutine(), openFiles(t), goroutines, descriptors)
	pressed.Wait()
	for i, status := range statuses {
		if status != http.StatusGatewayTimeout && status != http.StatusBadGateway { // what drips has begun to answer
			t.Errorf("press %d was answered with %d, want 504", i, status)
		}
	}
	for _, b := range people {
		home := b.get("/connections")
		home.want(200, "#card-strava[data-state=degraded] .problem", "Strava didn’t answer")
		home.want(200, "#card-foursquare[data-state=degraded] .problem", "Foursquare ")
		home.want(200, "#card-garmin[data-state=active]", "")
	}
	_, err := s.pool.Exec(t.Context(), `
		DELETE FROM cairn.river_job WHERE state IN ('available', 'retryable', 'scheduled')`)
	if err != nil {
		t.Fatal(err)
	}
	set(sandbox.Strava, sandbox.ModeHuge)
	set(sandbox.Foursquare, sandbox.ModeNone)
	people[0].post("/connections/strava/check").want(502, "h1", "isn’t responding properly")
	people[0].post("/connections/foursquare/check").to("/connections#card-foursquare")
	testkit.Eventually(t, "everything has ended", func() bool {
		nowGoroutines, nowDescriptors := rest(t, people)
		// Some lines are kept for a while.
		return underWay() == 0 && nowGoroutines <= goroutines+40 && nowDescriptors <= descriptors+30
	})
}

// press presses a button and returns the status of the answer, 0 if there was none.
func press(b browser, path string) int {
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.site.url+path, nil)
	if err != nil {
		return 0
	}
	resp, err := b.Do(r)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// enqueueSyncs adds jobs that call a provider about the first connection.
func enqueueSyncs(t *testing.T, s site, provider string, n int) {
	t.Helper()
	_, err := s.pool.Exec(t.Context(), `
		INSERT INTO cairn.river_job (kind, queue, args, max_attempts, priority, state, scheduled_at)
		SELECT 'revisit', $1, jsonb_build_object('provider', $1, 'subject', i.subject), 8, 1, 'available', now()
		FROM (SELECT subject FROM cairn.identities WHERE provider = $1 ORDER BY id LIMIT 1) i,
		     generate_series(1, $2)`, provider, n)
	if err != nil {
		t.Fatal(err)
	}
}

// underWay counts the goroutines that wait for a provider's API.
func underWay() int {
	var stacks strings.Builder
	_ = pprof.Lookup("goroutine").WriteTo(&stacks, 2)
	return strings.Count(stacks.String(), "oauth.(*Caller).send(")
}

// rest closes what browsers keep open, and counts what the process still has.
func rest(t *testing.T, people []browser) (goroutines, descriptors int) {
	t.Helper()
	for _, b := range people {
		b.CloseIdleConnections()
	}
	return runtime.NumGoroutine(), openFiles(t)
}

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", os.Getpid()))
	if os.IsNotExist(err) {
		return 0 // no Linux
	}
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// If a provider says when to try again, the job waits until then, without a failed try. The card shows the time.
func TestJobWaitsUntilRetryAfter(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	b.connect("garmin", "ada").to("/")
	forgetSyncs(t, s)
	for name, value := range map[string]string{sandbox.RetryAfter: "600", sandbox.API: sandbox.ModeRetryAfter} {
		if err := s.sandbox.SetSwitch(t.Context(), sandbox.Garmin, name, value); err != nil {
			t.Fatal(err)
		}
	}
	enqueueSyncs(t, s, sandbox.Garmin, 1)
	newSiteWith(t, options{pool: s.pool, works: true})
	testkit.Eventually(t, "the job waits", func() bool {
		return count(t, s, `SELECT count(*) FROM cairn.river_job WHERE queue = 'garmin' AND state = 'scheduled'`) == 1
	})
	if n := count(t, s, `
		SELECT count(*) FROM cairn.river_job
		WHERE queue = 'garmin' AND attempt = 0
		  AND scheduled_at BETWEEN now() + interval '9 minutes' AND now() + interval '12 minutes'`); n != 1 {
		t.Error("it waits too long or not long enough, or that counts as a try")
	}
	card := b.get("/connections").want(200, "#card-garmin[data-state=degraded] .next", "We’ll try again at ")
	at, _ := card.Find("#card-garmin .next time").Attr("datetime")
	when, err := time.Parse(time.RFC3339, at)
	if err != nil || time.Until(when) < 8*time.Minute || time.Until(when) > 10*time.Minute {
		t.Errorf("it shows the time %q", at)
	}
	signIn := newBrowser(t, s).post("/login/garmin").want(503, "h1", "Garmin has rate-limited us")
	if signIn.Find("a[href='/']").Length() == 0 {
		t.Error("the page leads nowhere")
	}
	again := b.post("/connections/garmin/check").want(503, ".lead", "It lets us try again at ")
	if after := again.header.Get("Retry-After"); after < "500" || after > "600" || len(after) != 3 {
		t.Errorf("Retry-After is %q, want less than 600", after)
	}
}

// A person who can't connect because Strava's limit of athletes is reached reads why.
func TestTooManyAthletes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	signedUp(t, s, "ada@example.org").connect("strava", "ada").to("/")
	if err := s.sandbox.SetSwitch(t.Context(), sandbox.Strava, sandbox.AthleteLimit, "1"); err != nil {
		t.Fatal(err)
	}
	b := signedUp(t, s, "max@example.org")
	b.failed(b.decide(b.consent("/connect/strava"), "max", "allow")).
		want(200, "#notice.bad", "Strava’s limit for this site is reached.")
}
