package routes_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"cairn/internal/testkit"
)

// carried is the return path that the page for re-authentication sends along.
func (b browser) carried(page string) string {
	b.t.Helper()
	next, ok := b.get(page).want(200, "h1", "Confirm it’s you").Find("input[name=next]").Attr("value")
	if !ok {
		b.t.Fatal("the page sends no return path along")
	}
	return next
}

// After a password, the intent is carried out in the same request.
func TestPasswordCarriesOutTheIntent(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	b.connect("strava", "ada").to("/")
	strava := fmt.Sprintf("/account/methods/%d/remove", count(t, s, `SELECT id FROM cairn.identities`))

	aged(t, s)
	next := b.carried(b.asked("/connect/garmin"))
	b.post("/account/confirm", "next", next, "password", "wrong").
		want(422, "#password-error", "Wrong password").
		want(422, "h1", "to connect Garmin")
	consent := b.consent("/account/confirm", "next", next, "password", password)
	b.get(b.decide(consent, "ada", "allow")).to("/connections#card-garmin")
	b.get("/connections").want(200, "#card-garmin[data-state=active]", "")

	aged(t, s)
	next = b.carried(b.asked(strava))
	b.post("/account/confirm", "next", next, "password", password).to("/account#methods")
	b.get("/account").want(200, "#methods #notice", "Strava was removed")
	aged(t, s)
	b.post("/account/confirm", "next", next, "password", password).to("/account") // it is spent
	b.get("/account").want(200, "#notice", "Confirmed")

	aged(t, s)
	next = b.carried(b.asked("/account/password/remove"))
	b.post("/account/confirm", "next", next, "password", password).to("/account#methods")
	if n := methods(t, s); n != 1 {
		t.Errorf("there are %d sign-in methods, want Garmin alone", n)
	}
	// The session was the password's.
	b.get(b.asked("/account/password/remove")).want(200, "main", "Continue with Garmin")
}

// After a provider's callback, which is a GET, the person presses the button; only connecting goes on by itself.
func TestProviderLeadsOnToTheIntent(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := newBrowser(t, s)
	b.get(b.decide(b.consent("/login/strava"), "ada", "allow")).to("/")
	again := func(next string) answer {
		return b.get(b.decide(b.consent("/login/strava", "next", next), "ada", "allow"))
	}

	aged(t, s)
	a := again(b.carried(b.asked("/connect/garmin")))
	consent := a.header.Get("Location")
	if a.status != http.StatusSeeOther || !strings.Contains(consent, "/sandbox/garmin/") {
		t.Fatalf("got %d to %q, want Garmin's consent page", a.status, consent)
	}
	b.get(b.decide(consent, "ada", "allow")).to("/connections#card-garmin")
	b.get("/connections").want(200, "#card-garmin[data-state=active]", "")

	aged(t, s)
	id := count(t, s, `SELECT id FROM cairn.identities WHERE provider = 'garmin'`)
	garmin := fmt.Sprintf("/account/methods/%d/remove", id)
	next := b.carried(b.asked(garmin))
	again(next).to(garmin)
	if n := methods(t, s); n != 2 {
		t.Fatalf("a GET has removed a sign-in method: there are %d", n)
	}
	b.get(garmin).
		want(200, "#notice", "Confirmed").
		want(200, "form[action='"+garmin+"'] button", "Remove and disconnect Garmin")
	b.post(garmin).to("/account#methods")
	aged(t, s)
	again(next).to(next) // it is spent
	b.get(next).to("/account")

	aged(t, s)
	consent = b.consent("/login/strava", "next", b.carried(b.asked("/connect/garmin")))
	b.get(b.decide(consent, "ada", "deny")).to(b.confirmingNow())
}

// confirmingNow is the address at which the newest intent of this browser waits.
func (b browser) confirmingNow() string {
	b.t.Helper()
	var data string
	err := b.site.pool.QueryRow(b.t.Context(), `
		SELECT convert_from(data, 'UTF8')::jsonb->>'intent' FROM cairn.sessions ORDER BY id DESC LIMIT 1`).Scan(&data)
	if err != nil {
		b.t.Fatal(err)
	}
	id, _, _ := strings.Cut(data, " ")
	return "/account/confirm?intent=" + id
}

// An intent belongs to its session and its user, lasts for ten minutes, and is done only from the page that named it.
func TestIntentsCannotBePlantedOrMoved(t *testing.T) {
	t.Parallel()
	confirmed := func(b browser, next string) {
		b.t.Helper()
		b.post("/account/confirm", "next", next, "password", password).to("/account")
	}
	for name, try := range map[string]func(t *testing.T, s site, b browser){
		"another site's": func(t *testing.T, s site, b browser) {
			b.do(http.MethodPost, "/connect/garmin", nil, "Sec-Fetch-Site", "cross-site").want(403, "", "")
			confirmed(b, "/account/confirm?intent=x")
		},
		"too old": func(t *testing.T, s site, b browser) {
			next := b.carried(b.asked("/connect/garmin"))
			if _, err := s.pool.Exec(t.Context(), `
				UPDATE cairn.sessions SET data = convert_to(regexp_replace(convert_from(data, 'UTF8'), ' (\d+) ',
					' ' || floor(extract(epoch FROM now()) - 601)::text || ' '), 'UTF8')`); err != nil {
				t.Fatal(err)
			}
			if h1 := b.get(next).Find("h1").Text(); strings.Contains(h1, "Garmin") {
				t.Errorf("the page still says %q", h1)
			}
			confirmed(b, next)
		},
		"another session's": func(t *testing.T, s site, b browser) {
			phone := newBrowser(t, s)
			phone.post("/login", "email", "ada@example.org", "password", password).to("/")
			aged(t, s)
			confirmed(b, phone.carried(phone.asked("/connect/garmin")))
		},
		"another person's": func(t *testing.T, s site, b browser) {
			moss := signedUp(t, s, "moss@example.org")
			aged(t, s)
			next := moss.carried(moss.asked("/connect/garmin"))
			confirmed(b, next)
			moss.get(moss.decide(moss.consent("/login/strava", "next", next), "ada", "allow")).to(next) // as Ada
			moss.get(next).to("/account")
		},
		"from before a sign-out": func(t *testing.T, s site, b browser) {
			next := b.carried(b.asked("/connect/garmin"))
			b.post("/logout")
			b.post("/login", "email", "ada@example.org", "password", password).to("/")
			aged(t, s)
			confirmed(b, next)
		},
		"from before a change of the password": func(t *testing.T, s site, b browser) {
			next := b.carried(b.asked("/connect/garmin"))
			b.post("/account/password", "current", password, "password", "another heap of pebbles").
				to("/account#h-password")
			b.post("/account/confirm", "next", next, "password", "another heap of pebbles").to("/account")
		},
		"another tab's": func(t *testing.T, s site, b browser) {
			next := b.carried(b.asked("/account/password/remove"))
			b.asked("/connect/garmin") // takes its place
			confirmed(b, next)
		},
		"a page's that names another task": func(t *testing.T, s site, b browser) {
			b.asked("/connect/garmin") // as a thief with the cookie would
			b.post("/account/confirm", "next", "/account/delete", "password", password).to("/account/delete")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			b := signedUp(t, s, "ada@example.org")
			b.connect("strava", "ada").to("/")
			aged(t, s)
			before, attempts := methods(t, s), count(t, s, `SELECT count(*) FROM cairn.oauth_attempts`)
			b.t = t
			try(t, s, b)
			if n := methods(t, s) - count(t, s, `SELECT count(*) FROM cairn.passwords`); n != before-1 {
				t.Errorf("%d providers are sign-in methods, want %d", n, before-1)
			}
			if n := count(t, s, `SELECT count(*) FROM cairn.oauth_attempts`); n != attempts {
				t.Errorf("%d attempts to connect were begun", n-attempts)
			}
		})
	}
}

// If many requests bring the password at once, to two instances, the intent is carried out once.
func TestRaceIntentIsDoneOnce(t *testing.T) {
	t.Parallel()
	sites := twins(t)
	owner := signedUp(t, sites[0], "ada@example.org")
	for round := range testkit.Rounds(t) {
		unlimited(t, sites[0])
		owner.post("/login", "email", "ada@example.org", "password", password).to("/")
		aged(t, sites[0])
		next := owner.carried(owner.asked("/connect/garmin"))
		var confirm []func()
		for i := range 4 {
			tab := newBrowser(t, sites[i%2])
			tab.Jar.SetCookies(mustParse(t, tab.site.url), owner.Jar.Cookies(mustParse(t, owner.site.url)))
			confirm = append(confirm, func() { tab.post("/account/confirm", "next", next, "password", password) })
		}
		together(confirm...)
		n := count(t, sites[0], `
			WITH gone AS (DELETE FROM cairn.oauth_attempts RETURNING 1) SELECT count(*) FROM gone`)
		if n != 1 {
			t.Fatalf("round %d: %d attempts were begun, want 1", round, n)
		}
	}
}
