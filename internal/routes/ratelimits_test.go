package routes_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cairn/internal/auth"
	"cairn/internal/sandbox"
	"cairn/internal/testkit"
)

// limitedSite has the default limits, and trusts the test to name its visitors' addresses.
func limitedSite(t *testing.T) site {
	t.Helper()
	limits := auth.DefaultLimits()
	// A busy machine takes longer than the usual pause for what is one moment here.
	limits.CallPause.Window = time.Minute
	return newSiteWith(t, options{limits: limits, proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
}

// from is the same browser in another network.
func (b browser) from(address string) browser {
	client := *b.Client
	client.Transport = elsewhere{address, testkit.NewTransport(b.t)}
	return browser{b.t, b.site, &client}
}

type elsewhere struct {
	address string
	http.RoundTripper
}

func (e elsewhere) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Forwarded-For", e.address)
	return e.RoundTripper.RoundTrip(r)
}

// tally counts answers by status, and checks that refusals say when to try again.
type tally struct {
	t  *testing.T
	mu sync.Mutex
	by map[int]int
}

func (c *tally) add(a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = map[int]int{}
	}
	c.by[a.status]++
	if a.status != http.StatusTooManyRequests {
		return
	}
	text := a.Find("main").Text()
	if a.header.Get("Retry-After") == "" || !strings.Contains(text, "again in") {
		c.t.Errorf("an answer 429 does not say when to try again: %q", strings.TrimSpace(text))
	}
}

// hardest is a password whose strength takes long to estimate.
const hardest = "907@&3|/6!%+$?[&{2<49061)57@738[1(44||["

// storm makes many requests at once while someone else, in another network, reads a page, which must not fail.
func storm(t *testing.T, reader browser, n int, request func(i int) answer) map[int]int {
	t.Helper()
	counts := tally{t: t}
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	for worker := range 30 {
		wg.Go(func() {
			for i := worker; i < n; i += 30 {
				counts.add(request(i))
				left.Add(-1)
			}
		})
	}
	for left.Load() > 0 {
		if a := reader.get("/account"); a.status != http.StatusOK {
			t.Errorf("someone else's page was answered %d", a.status)
			break
		}
	}
	wg.Wait()
	return counts.by
}

// A flood of passwords takes no page from others, and does not reveal which e-mails have accounts.
func TestAddingPasswordsIsNotFeltByOthers(t *testing.T) {
	t.Parallel()
	s := limitedSite(t)
	reader := newBrowser(t, s).from("192.0.2.1")
	reader.post("/signup", "name", "Ada", "email", "ada@example.org", "password", password).to("/")
	b := newBrowser(t, s).from("203.0.113.1")
	b.get(b.decide(b.consent("/login/strava"), "moss", "allow")).to("/")
	by := storm(t, reader, 300, func(i int) answer {
		return b.post("/account/password", "email", "ada@example.org", "password", hardest+fmt.Sprint(i))
	})
	if by[http.StatusUnprocessableEntity] != 10 || by[http.StatusTooManyRequests] != 290 {
		t.Errorf("got %v, want 10 answers about the e-mail, and then 429", by)
	}
	b.post("/account/password", "email", "ada@example.org", "password", "short").
		want(422, "#password-error", "at least 12") // costs nothing
}

// Nor does a flood of sign-ups.
func TestSignUpsAreNotFeltByOthers(t *testing.T) {
	t.Parallel()
	s := limitedSite(t)
	reader := newBrowser(t, s).from("192.0.2.1")
	reader.post("/signup", "name", "Ada", "email", "ada@example.org", "password", password).to("/")
	by := storm(t, reader, 300, func(i int) answer {
		visitor := newBrowser(t, s).from("203.0.113.1")
		return visitor.post("/signup", "email", "ada@example.org", "password", hardest+fmt.Sprint(i))
	})
	if by[http.StatusUnprocessableEntity] != 20 || by[http.StatusTooManyRequests] != 280 {
		t.Errorf("got %v, want 20 answers about the e-mail, and then 429", by)
	}
}

// A thief with the cookie tries passwords up to the limit. The owner, in another network, still can.
func TestStolenCookieDoesNotKeepTheOwnerOut(t *testing.T) {
	t.Parallel()
	s := limitedSite(t)
	owner := newBrowser(t, s).from("192.0.2.1")
	owner.post("/signup", "name", "Ada", "email", "ada@example.org", "password", password).to("/")
	aged(t, s)
	thief := newBrowser(t, s).from("203.0.113.1")
	thief.Jar.SetCookies(mustParse(t, s.url), owner.Jar.Cookies(mustParse(t, s.url)))
	for range 10 {
		thief.post("/account/confirm", "next", "/account", "password", "not the one").
			want(422, "#password-error", "Wrong password")
	}
	a := thief.post("/account/confirm", "next", "/account", "password", password).
		want(429, "main", "Please try again in")
	if a.header.Get("Retry-After") == "" {
		t.Error("it does not say when to try again")
	}
	for range 9 {
		owner.post("/account/password", "current", "not the one", "password", "a different heap of pebbles").
			want(422, "#current-error", "Wrong password")
	}
	owner.post("/account/password", "current", password, "password", "a different heap of pebbles").
		to("/account#h-password")
	for range 9 { // success has reset the count
		owner.post("/account/password", "current", "not the one", "password", password).
			want(422, "#current-error", "Wrong password")
	}
	if thief.signedIn() {
		t.Error("the thief is still signed in")
	}
}

// One person who checks, refreshes and signs in all the time leaves others most of what Strava allows
// for signing in, which is at least 20 calls of 100: half of them if Strava names the person
// with the tokens, as it does, and else what a network may.
func TestOnePersonDoesNotSpendTheQuota(t *testing.T) {
	t.Parallel()
	for names, most := range map[string]int{sandbox.On: 10, sandbox.Off: 20 + 2} {
		t.Run("named "+names, func(t *testing.T) {
			t.Parallel()
			s := limitedSite(t)
			b := newBrowser(t, s).from("203.0.113.1")
			b.post("/signup", "email", "ada@example.org", "password", password).to("/")
			b.connect("strava", "ada").to("/")
			if err := s.sandbox.SetSwitch(t.Context(), "strava", sandbox.NamesAthlete, names); err != nil {
				t.Fatal(err)
			}
			for i := range 60 {
				for _, path := range []string{"/connections/strava/check", "/connections/strava/refresh"} {
					b.post(path)
				}
				visitor := newBrowser(t, s).from("203.0.113.1")
				person := []string{"ada", "moss", "max"}[i%3]
				if a := visitor.post("/login/strava"); a.status == http.StatusSeeOther {
					visitor.get(visitor.decide(a.header.Get("Location"), person, "allow"))
				}
			}
			requests, err := s.sandbox.Requests(t.Context(), "strava")
			if err != nil {
				t.Fatal(err)
			}
			calls := requests[sandbox.UserInfo] + requests[sandbox.Data]
			if calls > most || requests[sandbox.Exchange] > 20 {
				t.Errorf("one person had Strava asked %d times, want %d at most, and sent %d codes",
					calls, most, requests[sandbox.Exchange])
			}
			other := newBrowser(t, s).from("192.0.2.1")
			other.get(other.decide(other.consent("/login/strava"), "zofie", "allow")).to("/")
		})
	}
}

// A button that is pressed too often leads to a page that says when it works again.
func TestCallsAboutAConnectionRest(t *testing.T) {
	t.Parallel()
	s := limitedSite(t)
	b := signedUp(t, s, "ada@example.org")
	b.connect("strava", "ada").to("/")
	b.connect("foursquare", "ada").to("/")
	b.post("/connections/strava/check").to("/connections#card-strava")
	for _, path := range []string{"/connections/strava/check", "/connections/strava/refresh"} {
		a := b.post(path).want(429, "h1", "Strava was checked a moment ago.").want(429, "main", "You can try again in")
		wait, back := a.header.Get("Retry-After"), a.Find("main a[href='/connections#card-strava']").Length()
		if wait == "" || len(wait) > 2 || back != 1 {
			t.Errorf("Retry-After %q, and a way back: %d", wait, back)
		}
	}
	b.post("/connections/foursquare/check").to("/connections#card-foursquare") // another connection is another matter
	for range 19 {
		rested(t, s)
		b.post("/connections/strava/check")
	}
	rested(t, s)
	b.post("/connections/strava/check").want(429, "h1", "checked often").want(429, "main", "again in 60 minutes")
}

// rested ends the pause between two calls about a connection.
func rested(t *testing.T, s site) {
	t.Helper()
	_, err := s.pool.Exec(t.Context(), `
		DELETE FROM cairn.rate_limits WHERE bucket LIKE 'connection call, pause %'`)
	if err != nil {
		t.Fatal(err)
	}
}

// Attempts that come back are limited for a browser, for a person who connects, and for an account,
// before a code is sent.
func TestFinishedAttemptsAreLimited(t *testing.T) {
	t.Parallel()
	s := limitedSite(t)
	exchanged := func() int {
		requests, err := s.sandbox.Requests(t.Context(), "strava")
		if err != nil {
			t.Fatal(err)
		}
		return requests[sandbox.Exchange]
	}
	declining := newBrowser(t, s).from("198.51.100.9")
	for range 8 { // declining costs no call
		declining.get(declining.decide(declining.consent("/login/strava"), "ada", "deny")).
			to("/login?notice=declined-strava")
	}

	one := newBrowser(t, s).from("203.0.113.1")
	late := one.decide(one.consent("/login/strava"), "ada", "allow") // begun in time, and comes back too late
	for i := range 5 {
		consent, person := one.consent("/login/strava"), []string{"ada", "moss"}[i%2]
		one.from(fmt.Sprintf("203.0.113.%d", i)).get(one.decide(consent, person, "allow")).to("/")
		one.post("/logout")
	}
	before := exchanged()
	a := one.get(late)
	one.get(a.header.Get("Location")).want(200, ".notice", "Too many attempts")
	if exchanged() != before {
		t.Error("the code was sent all the same")
	}
	refused := one.post("/login/strava") // before the consent page
	seconds, err := strconv.Atoi(refused.want(429, "main", "Too many attempts").header.Get("Retry-After"))
	if err != nil || seconds < 1 || seconds > 15*60 {
		t.Errorf("Retry-After is %d s (error %v), want up to a quarter of an hour", seconds, err)
	}
	one.consent("/login/garmin")
	for i := range 3 { // ada has signed in three times
		b := newBrowser(t, s).from(fmt.Sprintf("198.51.100.%d", i))
		a := b.get(b.decide(b.consent("/login/strava"), "ada", "allow"))
		if want := []string{"/", "/", "/login?notice=too-often-strava"}[i]; a.header.Get("Location") != want {
			t.Errorf("sign-in %d of one account leads to %q, want %q", i+4, a.header.Get("Location"), want)
		}
	}
}
