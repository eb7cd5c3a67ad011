package routes_test

import (
	"fmt"
	"testing"

	"cairn/internal/testkit"
)

func TestAccountPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "Ada@example.org")
	page := b.get("/account").want(200, "main", "Ada@example.org")
	if page.header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control is %q", page.header.Get("Cache-Control"))
	}
	b.post("/account/name", "name", "  Ada   Lovelace ").to("/account")
	b.get("/account").want(200, "#notice", "Saved").want(200, "header", "Ada Lovelace")
	a := b.post("/account/name", "name", " ").want(422, "#name-error", "1 to 100")
	if a.Find("form[action='/account/name'] input[name=name]").AttrOr("value", "x") != " " {
		t.Error("what was typed is lost")
	}
}

func TestChangePasswordEndsOtherSessions(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	other := newSiteWith(t, options{pool: s.pool})
	b := signedUp(t, s, "ada@example.org")
	phone, thief := newBrowser(t, other), newBrowser(t, s)
	phone.post("/login", "email", "ada@example.org", "password", password).to("/")
	for _, cookie := range b.Jar.Cookies(mustParse(t, s.url)) {
		thief.Jar.SetCookies(mustParse(t, s.url), append(thief.Jar.Cookies(mustParse(t, s.url)), cookie))
	}
	if !thief.signedIn() || !phone.signedIn() {
		t.Fatal("the test is wrong: neither the thief nor the phone is signed in")
	}
	const next = "a different heap of pebbles"
	b.post("/account/password", "current", "wrong", "password", next).want(422, "#current-error", "Wrong password")
	b.post("/account/password", "current", password, "password", "short").want(422, "#password-error", "12")
	if !phone.signedIn() {
		t.Error("a refused change signed the phone out")
	}
	b.post("/account/password", "current", password, "password", next).to("/account#h-password")
	b.get("/account").want(200, "#notice", "signed out on your other devices")
	if phone.signedIn() || thief.signedIn() {
		t.Error("the phone, or a thief with the old cookie, is still signed in")
	}
	phone.post("/login", "email", "ada@example.org", "password", password).want(422, "#form-error", "")
	phone.post("/login", "email", "ada@example.org", "password", next).to("/")
}

// Two tabs add a password at once: one does, and the other is refused with a reason.
func TestRacePasswordIsAddedOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	other := newSiteWith(t, options{pool: s.pool})
	for round := range testkit.Rounds(t) {
		b := newBrowser(t, s)
		b.get(b.decide(b.consent("/login/foursquare"), "ada", "allow")).to("/")
		answers := make(chan answer, 2)
		for i, tab := range []browser{b, b.at(other)} {
			go func() {
				answers <- tab.post("/account/password",
					"email", fmt.Sprintf("%d.%d@example.org", round, i), "password", password)
			}()
		}
		for range cap(answers) {
			if a := <-answers; a.status != 303 && a.status != 422 && a.status != 401 {
				t.Errorf("round %d: answered %d (%q)", round, a.status, a.Find("h1").Text())
			}
		}
		gone := `WITH gone AS (DELETE FROM cairn.passwords RETURNING 1) SELECT count(*) FROM gone`
		if n := count(t, s, gone); n != 1 {
			t.Errorf("round %d: %d passwords", round, n)
		}
		if _, err := s.pool.Exec(t.Context(), `DELETE FROM cairn.rate_limits`); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSignInMethods(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, options{works: true})
	b := newBrowser(t, s)
	b.get(b.decide(b.consent("/login/strava"), "ada", "allow")).to("/")
	removal := func(provider string) string {
		id := count(t, s, `SELECT id FROM cairn.identities WHERE provider = $1`, provider)
		return fmt.Sprintf("/account/methods/%d/remove", id)
	}
	if b.get("/account").want(200, "main", "with Strava").Find("a[href='"+removal("strava")+"']").Length() != 0 {
		t.Error("the only sign-in method has a button that removes it")
	}
	b.post(removal("strava")).want(409, "h1", "only sign-in method")
	b.connect("garmin", "ada").to("/")
	b.post("/account/password", "email", "ada@example.org", "password", password).to("/account#h-password")
	if n := b.get("/account").Find("a[href^='/account/methods/'][href$='/remove']").Length(); n != 2 {
		t.Errorf("%d sign-in methods can be removed, want 2", n)
	}
	stranger := signedUp(t, s, "moss@example.org")
	stranger.post(removal("garmin")).want(404, "h1", "")
	b.post(removal("garmin")).to("/account#methods")
	testkit.Eventually(t, "Garmin has revoked our access", func() bool { return grantsOf(t, s, "garmin") == 0 })
	testkit.Eventually(t, "the card says so", func() bool {
		return b.get("/connections").Find("#card-garmin[data-state=none]").Length() == 1
	})
	b.post("/account/password/remove").to("/account#methods")
	newBrowser(t, s).post("/login", "email", "ada@example.org", "password", password).want(422, "#form-error", "")
	b.post(removal("strava")).want(409, "h1", "only sign-in method")
	b.get("/connections").want(200, "#card-strava[data-state=active]", "")
	b.post("/account/methods/abc/remove").want(404, "h1", "")
}

// Removing a second identity of a provider leaves the connection of the first alone.
func TestRemovingAnIdentityTakesOnlyItsOwnConnection(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	b.connect("strava", "ada").to("/")
	b.post("/connections/strava/disconnect").to("/connections#card-strava")
	b.connect("strava", "moss").to("/")
	id := count(t, s, `SELECT min(id) FROM cairn.identities`)
	old := fmt.Sprintf("/account/ways/%d/remove", id) // the release before has this address in its pages
	b.post(old).to("/account#methods")
	b.get("/connections").want(200, "#card-strava[data-state=active]", "Moss")
}
