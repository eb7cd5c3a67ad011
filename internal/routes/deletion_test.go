package routes_test

import (
	"fmt"
	"strings"
	"testing"

	"cairn/internal/sandbox"
	"cairn/internal/testkit"
)

// left counts all rows about users.
func left(t *testing.T, s site) int {
	t.Helper()
	return int(count(t, s, `
		SELECT (SELECT count(*) FROM cairn.users) + (SELECT count(*) FROM cairn.passwords)
		     + (SELECT count(*) FROM cairn.identities) + (SELECT count(*) FROM cairn.sessions)
		     + (SELECT count(*) FROM cairn.ended_sessions) + (SELECT count(*) FROM cairn.connections)
		     + (SELECT count(*) FROM cairn.connection_events) + (SELECT count(*) FROM cairn.oauth_attempts)`))
}

// A connection without tokens, as the Node server left some, is nothing that we could ask a provider to revoke.
func TestDeletionPromisesNoMoreThanItCan(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	b.connect("strava", "ada").to("/")
	b.connect("garmin", "ada").to("/")
	exec(t, s, `UPDATE cairn.connections SET state = 'needs_reconnect', cause = 'unreadable', sealed_tokens = ''
		WHERE provider = 'garmin'`)
	id := count(t, s, `SELECT id::int FROM cairn.identities WHERE provider = 'garmin'`)
	for _, page := range []string{"/account/delete", fmt.Sprintf("/account/methods/%d/remove", id)} {
		main := b.get(page).want(200, "main a[rel]", "Remove Cairn at Garmin").Find("main").Text()
		if strings.Contains(main, "We’ll ask Garmin") {
			t.Errorf("%s promises what can't be done: %s", page, main)
		}
	}
	b.get("/account/delete").want(200, "main", "We’ll ask Strava to remove")
	b.post("/account/delete").to("/account/deleted")
	b.get("/account/deleted").want(200, "main", "We’re asking Strava to remove").
		want(200, "main a[rel]", "Remove Cairn at Garmin")
}

func TestDeleteAccount(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, options{works: true})
	b, phone, other := signedUp(t, s, "ada@example.org"), newBrowser(t, s), signedUp(t, s, "moss@example.org")
	phone.post("/login", "email", "ada@example.org", "password", password).to("/")
	for _, provider := range []string{"strava", "garmin", "foursquare"} {
		b.connect(provider, "ada").to("/")
	}
	other.connect("strava", "moss").to("/")
	b.get("/account").want(200, "a[href='/account/delete']", "Delete")
	aged(t, s)
	b.post("/account/delete").to(confirming("/account/delete"))
	if !phone.signedIn() {
		t.Error("a refused deletion signed the phone out")
	}
	b.post("/account/confirm", "next", "/account/delete", "password", password).to("/account/delete")
	b.get("/account/delete").
		want(200, "main", "We’ll ask Garmin to remove").
		want(200, "form[action='/account/delete'] button", "Delete my account")
	b.post("/account/delete").to("/account/deleted")
	for range 2 { // also after a reload
		b.get("/account/deleted").want(200, "h1", "deleted")
	}
	gone := b.get("/account/deleted")
	gone.want(200, "main", "We’re asking Garmin and Strava to remove").
		want(200, "main a[href*='foursquare.com']", "Remove Cairn at Foursquare")
	if gone.Find("header a[href='/account']").Length() != 0 {
		t.Error("the page looks signed in")
	}
	if b.signedIn() || phone.signedIn() {
		t.Error("a session of the account is left")
	}
	b.post("/login", "email", "ada@example.org", "password", password).want(422, "#form-error", "")
	testkit.Eventually(t, "Garmin and Strava have revoked our access", func() bool {
		return grantsOf(t, s, sandbox.Garmin) == 0 && grantsOf(t, s, sandbox.Strava) == 1
	})
	other.get("/connections").want(200, "#card-strava[data-state=active]", "Moss")
	other.post("/account/delete").to(confirming("/account/delete"))
	other.post("/account/confirm", "next", "/account/delete", "password", password).to("/account/delete")
	other.get("/account/delete").want(200, "h1", "Delete")
	if strings.Contains(other.get("/account/delete").Find("main").Text(), "Garmin") {
		t.Error("the page names a provider that is not connected")
	}
	other.post("/account/delete").to("/account/deleted")
	newBrowser(t, s).get("/account/deleted").to("/") // other browsers don't see it
	if n := left(t, s); n != 0 {
		t.Errorf("%d rows are left of two accounts", n)
	}
	testkit.Eventually(t, "the last token is gone", func() bool {
		return count(t, s, `SELECT count(*) FROM cairn.withdrawals`) == 0
	})
	// The address is free again.
	b.post("/signup", "name", "Ada", "email", "ada@example.org", "password", password).to("/")
	b.get("/account/deleted").to("/")
}

// A person whose only sign-in method is a provider re-authenticates with that.
func TestDeleteAccountWithoutAPassword(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := newBrowser(t, s)
	b.get(b.decide(b.consent("/login/strava"), "ada", "allow")).to("/")
	aged(t, s)
	b.post("/account/delete").to(confirming("/account/delete"))
	b.get(b.decide(b.consent("/login/strava", "next", "/account/delete"), "ada", "allow")).to("/account/delete")
	b.get("/account/delete").want(200, "form[action='/account/delete'] button", "Delete my account")
	b.post("/account/delete").to("/account/deleted")
	if n := left(t, s); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}
