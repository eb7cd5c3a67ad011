package soak

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

// The deadlines that docs/operations.md promises, and what a busy machine may add.
const (
	probeDeadline  = 3 * time.Second
	pageDeadline   = 10 * time.Second // for everything that a page waits for
	saveDeadline   = 3 * time.Second  // for saving the session after that
	answerDeadline = pageDeadline + saveDeadline
	recovery       = 5 * time.Second
	grace          = 2 * time.Second // after a restart
	slack          = 2500 * time.Millisecond
)

// A silent database is the worst kind of outage: it refuses nothing, so everything waits. Even so, each request is
// answered in time, what needs no database works, and everything works soon afterwards.
func TestFaultFrozen(t *testing.T) {
	t.Parallel()
	t.Run("processes stopped", func(t *testing.T) {
		t.Parallel()
		postgres := dbtest.NewCluster(t)
		freeze(t, postgres, postgres.URL(), postgres.Freeze, postgres.Thaw)
	})
	t.Run("network silent", func(t *testing.T) {
		t.Parallel()
		postgres := dbtest.NewCluster(t)
		network := newNetwork(t, postgres.Address())
		silence := func() {
			network.add("timeout", "upstream", 1, map[string]any{"timeout": 0})
			network.add("timeout", "downstream", 1, map[string]any{"timeout": 0})
		}
		freeze(t, postgres, network.url(), silence, network.heal)
	})
}

// freeze has people visit pages before, while and after the database is silent. address leads to postgres.
func freeze(t *testing.T, postgres *dbtest.Cluster, address string, begin, end func()) {
	const pool = 4
	server := start(t, "PORT=0", "DATABASE_URL="+address+"&pool_max_conns=4", usual().Variable())
	b := testkit.NewBrowser(t)
	b.SignUp(server.URL, "ada@example.org")
	people := newCanaries(t, server.URL, postgres.URL(), 50)
	watch := watchConnections(t, postgres)
	stop := people.walk(walkers())
	defer stop()
	people.awaitVisits(visitsInPeace())

	begin()
	begun := time.Now()
	var over atomic.Bool
	visitors := visit503(t, server.URL, &over)
	status := people.ask(t.Context(), people.people[0], http.MethodPost, "/logout", url.Values{})
	if status != http.StatusServiceUnavailable {
		t.Errorf("without a database signing out answers %d", status)
	}
	testkit.Eventually(t, "pages are refused, and the silence has lasted", func() bool {
		return len(people.visits(failed)) >= 10 && time.Since(begun) >= frozenFor()
	})
	over.Store(true)
	end()
	ended := time.Now()
	visitors()
	isReady := func() bool { return get(t, server.URL+"/readyz", nil).status == http.StatusOK }
	if !testkit.Within(atMost(recovery), isReady) {
		t.Errorf("not ready %v after the end", atMost(recovery))
	}
	ready := time.Since(ended)
	people.awaitAllServed()
	healed := time.Now()
	people.awaitVisits(visitsInPeace())
	stop()
	most := watch()

	during := people.visits(func(v visit) bool { return v.ended.After(begun) && v.ended.Before(ended) })
	late := people.visits(func(v visit) bool { return failed(v) && v.begun.After(ended) })
	for _, v := range people.visits(func(v visit) bool { return v.ended.Sub(v.begun) > atMost(allowed(v)+slack) }) {
		t.Errorf("%s took %v", v.page, v.ended.Sub(v.begun).Round(time.Millisecond))
	}
	for _, v := range people.visits(failed) {
		if v.begun.After(healed) || v.begun.After(ended.Add(atMost(recovery))) || v.ended.Before(begun) {
			t.Errorf("%s was refused %v after the end", v.page, v.begun.Sub(ended))
		}
	}
	if most > 2*pool {
		t.Errorf("%d connections on PostgreSQL, with a pool of %d", most, pool)
	}
	b.WantConnected(server.URL, 0)
	people.mustAllBeSignedIn()
	mustBeSound(t, server)
	t.Logf("silent for %v: %d answers: %s", ended.Sub(begun).Round(time.Millisecond), len(during), tally(during))
	t.Logf("ready %v after the end, %d requests refused after it; at most %d connections on PostgreSQL",
		ready.Round(time.Millisecond), len(late), most)
}

// frozenFor is the shortest time for which the database is silent or locked.
func frozenFor() time.Duration {
	if faultTime() > 0 {
		return 30 * time.Second
	}
	return 0
}

// allowed returns how long an answer may take.
func allowed(v visit) time.Duration {
	if strings.HasSuffix(v.page, "/api/auth/me") {
		return pageDeadline
	}
	return answerDeadline
}

// visit503 requests pages that need no database, which have to be served at once, and pages that say that it is
// unreachable, until over is true. wait waits for the last answers.
func visit503(t *testing.T, site string, over *atomic.Bool) (wait func()) {
	style := stylesheet(t, site)
	var group sync.WaitGroup
	for path, want := range map[string]int{
		"/":             200,
		"/login":        200,
		"/signup":       200,
		style:           200,
		"/healthz":      200,
		"/health":       200,
		"/no-such-page": 404,
		"/account":      303,
		"/readyz":       503,
	} {
		limit := slack
		if path == "/readyz" {
			limit += probeDeadline
		}
		group.Go(func() {
			for !over.Load() {
				if a := get(t, site+path, nil); (a.status != want || a.took > atMost(limit)) && !over.Load() {
					t.Errorf("without a database %s answers %d after %v", path, a.status, a.took)
				}
				testkit.AtRandom(100 * time.Millisecond)
			}
		})
	}
	group.Go(func() {
		form := url.Values{"email": {"ada@example.org"}, "password": {testkit.Password}}
		a := get(t, site+"/login", form)
		refused := a.status == http.StatusServiceUnavailable &&
			a.header.Get("Retry-After") != "" && a.header.Get("Set-Cookie") == ""
		waited := a.status == http.StatusSeeOther && over.Load()
		if !refused && !waited || a.took > atMost(answerDeadline+slack) {
			t.Errorf("without a database signing in answers %d after %v", a.status, a.took)
		}
	})
	return group.Wait
}

type got struct {
	status int
	took   time.Duration
	header http.Header
	body   string
}

// get requests a page without a cookie, or posts a form unless form is nil.
func get(t *testing.T, address string, form url.Values) got {
	t.Helper()
	method := http.MethodGet
	if form != nil {
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Error(err)
		return got{}
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Close = true
	begun := time.Now()
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Errorf("%s: %v", r.URL.Path, err)
		return got{}
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(resp.Body)
	return got{resp.StatusCode, time.Since(begun).Round(time.Millisecond), resp.Header, string(body)}
}

func stylesheet(t *testing.T, site string) string {
	t.Helper()
	_, page := testkit.NewBrowser(t).Send(http.MethodGet, site+"/", nil)
	return page.Find("link[rel=stylesheet]").AttrOr("href", "")
}

// watchConnections keeps counting the server's connections on PostgreSQL. stop stops that and returns the highest
// count.
func watchConnections(t *testing.T, postgres *dbtest.Cluster) (stop func() (most int)) {
	t.Helper()
	conn := testkit.Connect(t, postgres.URL())
	ctx, cancel := context.WithCancel(t.Context())
	counted := make(chan int)
	go func() {
		most := 0
		for range time.Tick(5 * time.Millisecond) {
			if ctx.Err() != nil {
				break
			}
			var n int
			err := conn.QueryRow(t.Context(), `
				SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cairn'`).Scan(&n)
			if err != nil {
				t.Errorf("count connections: %v", err)
				break
			}
			most = max(most, n)
		}
		_ = conn.Close(context.WithoutCancel(ctx))
		counted <- most
	}()
	return func() int { cancel(); return <-counted }
}
