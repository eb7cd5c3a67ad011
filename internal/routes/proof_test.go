package routes_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"cairn/internal/testkit"
)

// twins are two instances on one database.
func twins(t *testing.T) [2]site {
	t.Helper()
	one := newSite(t)
	return [2]site{one, newSiteWith(t, options{pool: one.pool})}
}

// unlimited resets all counts of limits and of calls to providers, which the test is not about.
func unlimited(t *testing.T, s site) {
	t.Helper()
	exec(t, s, `DELETE FROM cairn.rate_limits`)
	s.later(t)
}

func exec(t *testing.T, s site, sql string, args ...any) {
	t.Helper()
	if _, err := s.pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// stolen is another browser with the same cookies.
func (b browser) stolen() browser {
	b.t.Helper()
	c := newBrowser(b.t, b.site)
	c.Jar.SetCookies(mustParse(b.t, b.site.url), b.Jar.Cookies(mustParse(b.t, b.site.url)))
	return c
}

// together calls all of these at once.
func together(all ...func()) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for _, do := range all {
		wg.Go(func() { <-begin; do() })
	}
	close(begin)
	wg.Wait()
}

// Sign-ins with the old password that overlap with its change leave no session, whichever comes first.
func TestRacePasswordChangeEvictsOverlappingSignIns(t *testing.T) {
	t.Parallel()
	sites := twins(t)
	for round := range testkit.Rounds(t) {
		unlimited(t, sites[0])
		email := fmt.Sprintf("ada%d@example.org", round)
		owner := signedUp(t, sites[0], email)
		intrude := func() {
			for i := range 4 {
				newBrowser(t, sites[i%2]).post("/login", "email", email, "password", password)
			}
		}
		together(intrude, intrude, func() {
			owner.post("/account/password", "current", password, "password", "a different heap of pebbles").
				to("/account#h-password")
		}, intrude, intrude)
		n := count(t, sites[0], `
			SELECT count(*) FROM cairn.sessions s JOIN cairn.passwords p USING (user_id) WHERE p.email = $1`, email)
		if n != 1 {
			t.Fatalf("round %d: %d sessions, want the owner's alone", round, n)
		}
		if !owner.signedIn() {
			t.Fatalf("round %d: the owner is signed out", round)
		}
	}
}

// Sign-ins with a provider's account that overlap with its removal leave no session of the account that it belonged to.
func TestRaceRemovalEvictsOverlappingSignIns(t *testing.T) {
	t.Parallel()
	sites := twins(t)
	owner := signedUp(t, sites[0], "ada@example.org")
	for round := range testkit.Rounds(t) {
		unlimited(t, sites[0])
		owner.connect("strava", "ada").to("/")
		id := count(t, sites[0], `
			SELECT i.id FROM cairn.identities i JOIN cairn.passwords USING (user_id) WHERE provider = 'strava'`)
		var thieves [4]browser
		var callbacks [4]string
		for i := range thieves {
			thieves[i] = newBrowser(t, sites[i%2])
			callbacks[i] = thieves[i].decide(thieves[i].consent("/login/strava"), "ada", "allow")
		}
		intrude := func(i int) func() { return func() { thieves[i].get(callbacks[i]) } }
		remove := func() { owner.post(fmt.Sprintf("/account/methods/%d/remove", id)).to("/account#methods") }
		together(intrude(0), intrude(1), remove, intrude(2), intrude(3))
		n := count(t, sites[0], `
			SELECT count(*) FROM cairn.sessions s JOIN cairn.passwords p USING (user_id) WHERE s.method = 'strava'`)
		if n != 0 {
			t.Fatalf("round %d: %d sessions that Strava began, want none", round, n)
		}
		if !owner.signedIn() {
			t.Fatalf("round %d: the owner is signed out", round)
		}
		// A sign-in that came after the removal made an account of its own.
		exec(t, sites[0], `DELETE FROM cairn.users WHERE id NOT IN (SELECT user_id FROM cairn.passwords)`)
	}
}

// Removing a sign-in method ends the sessions that began with it, and their attempts.
func TestRemovalEvictsIntruders(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(s site, owner browser){
		"provider": func(s site, owner browser) {
			id := count(t, s, `SELECT id FROM cairn.identities WHERE provider = 'strava'`)
			owner.post(fmt.Sprintf("/account/methods/%d/remove", id)).to("/account#methods")
		},
		"password": func(_ site, owner browser) { owner.post("/account/password/remove").to("/account#methods") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sites := twins(t)
			owner := signedUp(t, sites[0], "ada@example.org")
			owner.connect("strava", "ada").to("/")
			intruder := newBrowser(t, sites[1])
			intruder.get(intruder.decide(intruder.consent("/login/strava"), "ada", "allow")).to("/")
			copied := owner.stolen()
			callback := intruder.decide(intruder.consent("/connect/garmin"), "moss", "allow")
			remove(sites[0], owner)
			if intruder.signedIn() || copied.signedIn() {
				t.Error("an intruder is still signed in")
			}
			intruder.get(callback)
			if n := count(t, sites[0], `SELECT count(*) FROM cairn.identities WHERE provider = 'garmin'`); n != 0 {
				t.Error("the intruder added a sign-in method after theirs was removed")
			}
			if !owner.signedIn() {
				t.Error("the owner is signed out")
			}
			intruder.get("/login").want(200, "#notice", "sign-in method was removed")
		})
	}
}

// A session that began with a removed method does not count as a recent sign-in.
func TestSessionOfARemovedMethodIsNotRecent(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := newBrowser(t, s)
	b.get(b.decide(b.consent("/login/strava"), "ada", "allow")).to("/")
	b.post("/account/password", "email", "ada@example.org", "password", password).to("/account#h-password")
	strava := count(t, s, `SELECT id FROM cairn.identities`)
	b.post(fmt.Sprintf("/account/methods/%d/remove", strava)).to("/account#methods")
	b.asked("/connect/garmin")
	b.post("/account/confirm", "next", "/", "password", password).to("/")
	b.connect("garmin", "ada").to("/")
}

// A session that ends during a call to the provider connects nothing.
func TestSessionThatEndsMeanwhileConnectsNothing(t *testing.T) {
	t.Parallel()
	var owner browser
	ended := false
	s := newSiteWith(t, options{heard: func(sandbox http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "token") && !ended {
				ended = true
				owner.post("/account/sessions/end-others").to("/account#sessions")
			}
			sandbox.ServeHTTP(w, r)
		})
	}})
	owner = signedUp(t, s, "ada@example.org")
	thief := signedIn(t, s, "ada@example.org", iphone)
	thief.get(thief.decide(thief.consent("/connect/garmin"), "moss", "allow")).to("/login?next=%2F&notice=sign-in")
	if !ended {
		t.Fatal("the test is wrong: the provider was not asked for a token")
	}
	n := count(t, s, `SELECT count(*) FROM cairn.identities`) + count(t, s, `SELECT count(*) FROM cairn.connections`)
	if n != 0 {
		t.Errorf("%d identities and connections of a session that had ended", n)
	}
}

// An account is created together with its session, so that a sign-up that fails can be tried again.
func TestFailedSignUpLeavesNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	exec(t, s, `CREATE FUNCTION cairn.refuse() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN RAISE EXCEPTION 'disk full' USING ERRCODE = '53100'; END $$`)
	exec(t, s, `CREATE TRIGGER refuse BEFORE INSERT ON cairn.sessions FOR EACH ROW EXECUTE FUNCTION cairn.refuse()`)
	b := newBrowser(t, s)
	b.post("/signup", "name", "Ada", "email", "ada@example.org", "password", password).want(503, "h1", "")
	b.get(b.decide(b.consent("/login/strava"), "ada", "allow")).want(503, "h1", "")
	exec(t, s, `DROP TRIGGER refuse ON cairn.sessions`)
	if n := count(t, s, `SELECT count(*) FROM cairn.users`); n != 0 {
		t.Errorf("%d accounts without a session, want none", n)
	}
	b.post("/signup", "name", "Ada", "email", "ada@example.org", "password", password).to("/")
}

// Strangers who guess passwords lock themselves out, and not a browser that the owner has signed in with.
func TestStrangersDoNotLockOutAKnownBrowser(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	home := signedUp(t, s, "ada@example.org")
	for _, cookie := range home.Jar.Cookies(mustParse(t, s.url)) {
		known := `SELECT count(*) FROM cairn.browsers WHERE encode(token_hash, 'escape') LIKE $1`
		if cookie.Name == "browser" && count(t, s, known, cookie.Value) > 0 {
			t.Error("the browser's token is stored as it is")
		}
	}
	home.post("/logout").to("/?notice=signed-out")
	guess := func(b browser) answer { return b.post("/login", "email", "ada@example.org", "password", "wrong") }
	stranger := newBrowser(t, s)
	for range 10 {
		guess(stranger).want(422, "#form-error", "")
	}
	guess(stranger).want(429, "#form-error", "")
	newBrowser(t, s).post("/login", "email", "ada@example.org", "password", password).want(429, "#form-error", "")

	home.post("/login", "email", "ada@example.org", "password", password).to("/")
	home.post("/logout")
	for range 10 {
		guess(home).want(422, "#form-error", "")
	}
	guess(home).want(429, "#form-error", "") // it has a limit too
}

func TestKnownBrowsersAreForgotten(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for name, act := range map[string]func(owner browser){
		"password change": func(owner browser) {
			owner.post("/account/password", "current", password, "password", "a different heap of pebbles").
				to("/account#h-password")
		},
		"sign out everywhere else": func(owner browser) {
			owner.post("/account/sessions/end-others").to("/account#sessions")
		},
	} {
		unlimited(t, s)
		exec(t, s, `DELETE FROM cairn.users`)
		owner := signedUp(t, s, "ada@example.org")
		other := signedIn(t, s, "ada@example.org", iphone)
		before := cookieOf(other, "browser")
		if n := count(t, s, `SELECT count(*) FROM cairn.browsers`); n != 2 {
			t.Fatalf("%d known browsers, want 2", n)
		}
		old := cookieOf(owner, "browser")
		act(owner)
		known := count(t, s, `SELECT count(*) FROM cairn.browsers`)
		if known != 1 || cookieOf(owner, "browser") == old || before == "" {
			t.Errorf("%s: %d browsers are known, want this one alone, by another token", name, known)
		}
	}
}

// An account knows the browsers that signed in last, however many sign in.
func TestKnownBrowsersAreBounded(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	owner := signedUp(t, s, "ada@example.org")
	exec(t, s, `
		INSERT INTO cairn.browsers (token_hash, user_id, last_used)
		SELECT sha256(n::text::bytea), user_id, now() - n * interval '1 minute'
		FROM cairn.passwords, generate_series(1, 100) n`)
	owner.post("/login", "email", "ada@example.org", "password", password).to("/")
	newest := count(t, s, `SELECT count(*) FROM cairn.browsers WHERE last_used > now() - interval '50 minutes'`)
	if all := count(t, s, `SELECT count(*) FROM cairn.browsers`); all != 50 || newest != 50 {
		t.Errorf("%d browsers are known, %d of them among the newest; want the newest 50", all, newest)
	}
}

// The cookie of a known browser signs no one in.
func TestKnownBrowserIsNoSignIn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	owner := signedUp(t, s, "ada@example.org")
	thief := newBrowser(t, s)
	thief.Jar.SetCookies(mustParse(t, s.url), []*http.Cookie{{Name: "browser", Value: cookieOf(owner, "browser")}})
	if thief.signedIn() {
		t.Error("it signed in")
	}
	thief.post("/login", "email", "ada@example.org", "password", "wrong").want(422, "#form-error", "")
}

func cookieOf(b browser, name string) string {
	u, _ := url.Parse(b.site.url)
	for _, cookie := range b.Jar.Cookies(u) {
		if cookie.Name == name {
			return cookie.Value
		}
	}
	return ""
}

// A stale cookie is explained once, and cleared.
func TestReasonIsShownOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	owner := signedUp(t, s, "ada@example.org")
	phone := signedIn(t, s, "ada@example.org", iphone)
	owner.post("/account/sessions/end-others").to("/account#sessions")
	phone.get("/login").want(200, "#notice", "another of your devices")
	if cookieOf(phone, "session") != "" {
		t.Error("the dead cookie is kept")
	}
	if phone.get("/login").Find("#notice").Length() != 0 {
		t.Error("the reason is shown again")
	}
}

// An invalid e-mail address is a wrong one, and no failure of ours.
func TestSignInWithInvalidAddresses(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, email := range []string{"ada\x00@example.org", "\xff\xfe@example.org"} {
		newBrowser(t, s).post("/login", "email", email, "password", password).want(422, "#form-error", "")
	}
}

// Everything that touches an account at the same moment takes its locks in one order: nothing ends in a deadlock.
func TestRaceActsOnOneAccountDoNotDeadlock(t *testing.T) {
	t.Parallel()
	sites := twins(t)
	for round := range testkit.Rounds(t) {
		unlimited(t, sites[0])
		email := fmt.Sprintf("ada%d@example.org", round)
		owner := signedUp(t, sites[0], email)
		owner.connect("strava", "ada").to("/")
		other := signedIn(t, sites[1], email, iphone)
		visitor := newBrowser(t, sites[1])
		callback := visitor.decide(visitor.consent("/login/strava"), "ada", "allow")
		again := owner.decide(owner.consent("/connect/garmin"), "ada", "allow")
		id := count(t, sites[0], `
			SELECT i.id FROM cairn.identities i JOIN cairn.passwords p USING (user_id) WHERE p.email = $1`, email)
		settled := func(act string, do func() answer) func() {
			return func() {
				// The simulated provider's quota may be spent, which is answered with 503.
				if a := do(); a.status == http.StatusInternalServerError {
					t.Errorf("round %d: %s was answered %d", round, act, a.status)
				}
			}
		}
		together(
			settled("sign-in", func() answer {
				return newBrowser(t, sites[0]).post("/login", "email", email, "password", password)
			}),
			settled("sign-in at Strava", func() answer { return visitor.get(callback) }),
			settled("connect", func() answer { return owner.get(again) }),
			settled("check", func() answer { return owner.post("/connections/strava/check") }),
			settled("disconnect", func() answer {
				return other.post("/connections/strava/disconnect", "confirm", "yes")
			}),
			settled("removal", func() answer {
				return other.post(fmt.Sprintf("/account/methods/%d/remove", id), "confirm", "yes")
			}),
			settled("password", func() answer {
				return owner.post("/account/password", "current", password, "password", "a different heap of pebbles")
			}),
			settled("deletion", func() answer { return owner.post("/account/delete") }),
		)
		if strings.Contains(sites[0].log.String()+sites[1].log.String(), "40P01") {
			t.Fatalf("round %d: a deadlock", round)
		}
		exec(t, sites[0], `DELETE FROM cairn.users`)
	}
}

// Somebody confirms something while another browser signs them out, and both wait for the same known browser. Neither
// request ends in a failure of ours.
func TestRaceConfirmingAgainstSigningOutOthers(t *testing.T) {
	t.Parallel()
	sites := twins(t)
	b := signedUp(t, sites[0], "ada@example.org")
	b.connect("strava", "ada").to("/")
	other := signedIn(t, sites[1], "ada@example.org", iphone)
	aged(t, sites[0])
	next := b.asked("/account/password/remove")
	release := holding(t, sites[0], `SELECT FROM cairn.browsers FOR UPDATE`)
	together(
		func() { other.post("/account/sessions/end-others").to("/account#sessions") },
		func() {
			awaitWaiting(t, sites[0], 1)
			if a := b.post("/account/confirm", "password", password, "next", next); a.status != http.StatusSeeOther {
				t.Errorf("confirming is answered %d", a.status)
			}
		},
		func() {
			awaitWaiting(t, sites[0], 2)
			release()
		},
	)
}
