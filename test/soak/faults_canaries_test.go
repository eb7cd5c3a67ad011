package soak

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/db"
	"cairn/internal/session"
	"cairn/internal/testkit"
	"cairn/internal/testkit/process"
)

// canaries are signed-in people who look at their pages while something goes wrong. Each person's unique name must be
// on all of their own pages and on no others.
type canaries struct {
	t      *testing.T
	site   string
	client *http.Client
	people []person

	mu   sync.Mutex
	seen []visit
}

type person struct {
	canary string
	cookie *http.Cookie
}

// visit is an answered request: served (200, 303) or refused (503). Any other answer fails the test.
type visit struct {
	begun, ended time.Time
	page         string
	status       int
}

var canaryName = regexp.MustCompile(`canary-[a-z0-9]+`)

// newCanaries signs people in, directly in the database, so that no password is hashed.
func newCanaries(t *testing.T, site, database string, size int) *canaries {
	t.Helper()
	c := &canaries{t: t, site: site, people: make([]person, size), client: &http.Client{
		Timeout:       testkit.Patience,
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64, DialContext: dialForAll},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	t.Cleanup(c.client.CloseIdleConnections)
	pool, err := db.Open(t.Context(), database, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	sessions := session.New(session.Options{Pool: pool, StatementTimeout: testkit.Patience})
	hooks := session.Hooks{
		Address: func(*http.Request) string { return "" },
		Failed:  func(_ http.ResponseWriter, _ *http.Request, err error) { t.Error(err) },
	}
	for i := range c.people {
		p := &c.people[i]
		p.canary = "canary-" + strings.ToLower(rand.Text()[:12])
		var id int64
		err := pool.QueryRow(t.Context(), `
			INSERT INTO cairn.users (display_name) VALUES ($1) RETURNING id`, p.canary).Scan(&id)
		if err != nil {
			t.Fatal(err)
		}
		signIn := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			user := func(context.Context, pgx.Tx) (int64, error) { return id, nil }
			in := session.SignIn{Method: "strava", Persistent: true}
			if err := sessions.SignIn(r.Context(), in, user); err != nil {
				t.Error(err)
			}
		})
		answer := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		sessions.Handler(hooks)(signIn).ServeHTTP(answer, r)
		if cookies := answer.Result().Cookies(); len(cookies) == 1 {
			p.cookie = cookies[0]
		} else {
			t.Fatalf("signing in set %d cookies", len(cookies))
		}
	}
	return c
}

// dialForAll connects even if the request that needed the connection was cancelled, because another request may use it.
func dialForAll(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{Timeout: testkit.Patience}).DialContext(context.WithoutCancel(ctx), network, address)
}

// walk has callers visit pages until stop is called, which waits for their last answers. A fifth of the requests are
// cancelled at a random moment, and a twentieth write.
func (c *canaries) walk(callers int) (stop func()) {
	var stopped atomic.Bool
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for !stopped.Load() {
				c.step()
				testkit.AtRandom(pace(0))
			}
		})
	}
	return sync.OnceFunc(func() { stopped.Store(true); group.Wait() })
}

func (c *canaries) step() {
	p := c.people[mathrand.N(len(c.people))]
	ctx, done := c.t.Context(), func() {}
	if mathrand.N(5) == 0 {
		ctx, done = context.WithTimeout(ctx, mathrand.N(20*time.Millisecond))
	}
	defer done()
	if mathrand.N(20) == 0 {
		c.rename(ctx, p)
		return
	}
	c.look(ctx, p, []string{"/", "/account", "/api/auth/me", "/api/auth/me"}[mathrand.N(4)])
}

// look requests a page as a person. The status is 0 if the request was cancelled.
func (c *canaries) look(ctx context.Context, p person, page string) (status int) {
	return c.ask(ctx, p, http.MethodGet, page, nil)
}

// rename sets a person's name to the same name, and a notice for their next page. Both write.
func (c *canaries) rename(ctx context.Context, p person) (status int) {
	return c.ask(ctx, p, http.MethodPost, "/account/name", url.Values{"name": {p.canary}})
}

func (c *canaries) ask(ctx context.Context, p person, method, page string, form url.Values) (status int) {
	r, err := http.NewRequestWithContext(ctx, method, c.site+page, strings.NewReader(form.Encode()))
	if err != nil {
		c.t.Error(err)
		return 0
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.AddCookie(p.cookie)
	begun := time.Now()
	resp, err := c.client.Do(r)
	var body []byte
	if err == nil {
		body, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}
	if err != nil {
		// A request without a deadline can still fail by the deadline of one that was cancelled on the same connection.
		if _, brokenOff := ctx.Deadline(); !brokenOff && !errors.Is(err, context.DeadlineExceeded) {
			c.t.Errorf("%s %s: no answer: %v", method, page, err)
		}
		return 0
	}
	c.judge(p, page, resp, string(body))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, visit{begun, time.Now(), method + " " + page, resp.StatusCode})
	return resp.StatusCode
}

// judge checks what must hold whatever happens to the database.
func (c *canaries) judge(p person, page string, resp *http.Response, body string) {
	found := canaryName.FindAllString(body, -1)
	switch {
	case slices.ContainsFunc(found, func(name string) bool { return name != p.canary }):
		c.t.Errorf("%s shows another person's name: %s sees %v", page, p.canary, found)
	case len(resp.Cookies()) > 0:
		c.t.Errorf("%s (%d) changes the cookie", page, resp.StatusCode)
	case resp.StatusCode == http.StatusOK && len(found) == 0:
		c.t.Errorf("%s does not show the person's name", page)
	case resp.StatusCode == http.StatusSeeOther && resp.Header.Get("Location") == "/account":
	case resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") == "":
		c.t.Errorf("%s answers 503 without Retry-After", page)
	case resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable:
		c.t.Errorf("%s answers %d %s", page, resp.StatusCode, resp.Header.Get("Location"))
	}
}

// awaitVisits waits for n more visits, a hundred at a time, because a thousand slow ones may take longer than
// testkit.Patience.
func (c *canaries) awaitVisits(n int) {
	c.t.Helper()
	all := func(visit) bool { return true }
	before := len(c.visits(all))
	for done := 0; done < n; {
		done = min(done+100, n)
		testkit.Eventually(c.t, fmt.Sprintf("%d more visits are over", done), func() bool {
			return len(c.visits(all)) >= before+done
		})
	}
}

// awaitAllServed waits until each person, one after the other, is served.
func (c *canaries) awaitAllServed() {
	c.t.Helper()
	testkit.Eventually(c.t, "every person is served", func() bool {
		return !slices.ContainsFunc(c.people, func(p person) bool {
			return c.look(c.t.Context(), p, "/account") != http.StatusOK
		})
	})
}

// mustAllBeSignedIn checks that every person is still signed in.
func (c *canaries) mustAllBeSignedIn() {
	c.t.Helper()
	for _, p := range c.people {
		if status := c.look(c.t.Context(), p, "/"); status != http.StatusOK {
			c.t.Errorf("%s is no longer served: %d", p.canary, status)
		}
	}
}

// mustBeSound checks the server's log for data races and panics.
func mustBeSound(t *testing.T, p *process.Process) {
	t.Helper()
	for _, sign := range []string{"DATA RACE", `"panic"`, "panic:"} {
		if strings.Contains(p.Logged(), sign) {
			t.Errorf("the server's log has %s:\n%s", sign, p.Logged())
		}
	}
}

// visits returns the visits for which chosen is true, in the order of their ends.
func (c *canaries) visits(chosen func(visit) bool) (found []visit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range c.seen {
		if chosen(v) {
			found = append(found, v)
		}
	}
	return found
}

func failed(v visit) bool { return v.status == http.StatusServiceUnavailable }
func served(v visit) bool { return !failed(v) }

// slowest returns how long the slowest visit took.
func slowest(visits []visit) (longest time.Duration) {
	for _, v := range visits {
		longest = max(longest, v.ended.Sub(v.begun))
	}
	return longest.Round(time.Millisecond)
}

// tally counts visits by page, and says how long the slowest took.
func tally(visits []visit) string {
	pages := map[string][]visit{}
	for _, v := range visits {
		pages[v.page] = append(pages[v.page], v)
	}
	var lines []string
	for page, some := range pages {
		lines = append(lines, fmt.Sprintf("%s: %d, slowest %v", page, len(some), slowest(some)))
	}
	slices.Sort(lines)
	return strings.Join(lines, "; ")
}
