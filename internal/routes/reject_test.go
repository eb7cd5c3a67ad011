package routes_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"cairn/internal/testkit"
)

const newSignIn = "in a new browser"

// intrudes signs in as somebody who knows the password. It returns their browser, and the link in the owner's message.
func intrudes(t *testing.T, s site, server *testkit.MailServer, email string) (intruder browser, link string) {
	t.Helper()
	before := len(server.Messages())
	intruder = newBrowser(t, s)
	intruder.post("/login", "email", email, "password", password).to("/")
	testkit.Eventually(t, "the message about the sign-in comes", func() bool {
		for _, m := range server.Messages()[before:] {
			if m.To == email && strings.Contains(m.Subject(), newSignIn) {
				link = m.Link()
			}
		}
		return link != ""
	})
	return intruder, link
}

// resets chooses a new password with the link that still works, and signs in with it.
func (b browser) resets(server *testkit.MailServer, email string) {
	b.t.Helper()
	var page answer
	testkit.Eventually(b.t, "a link for a new password works", func() bool {
		for _, m := range server.Messages() {
			if m.To == email && m.Subject() == "Choose a new password" {
				page = b.follow(m.Link())
			}
			if page.status == http.StatusOK {
				return true
			}
		}
		return false
	})
	b.press(page, "password", newPassword).to("/login?notice=password-reset")
	b.post("/login", "email", email, "password", newPassword).to("/")
}

// An intruder has the password, adds sign-in methods, and locks the owner out. The link in the owner's message undoes
// all of that.
func TestRejectSignInLocksAnIntruderOut(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	owner := joined(t, s, server, "ada@example.org")
	owner.connect("strava", "ada").to("/")
	intruder, link := intrudes(t, s, server, "ada@example.org")
	d := newDevice(s)
	intruder.addsPasskey(d)
	_, _ = intruder.setsUpApp(&appClock{})
	intruder.connect("garmin", "max").to("/")
	intruder.post("/account/sessions/end-others").to("/account#sessions")
	intruder.post("/account/password", "current", password, "password", "seven cold herons at the weir").
		to("/account#h-password")
	owner.get("/account").to("/login?next=%2Faccount&notice=sign-in")

	other := newBrowser(t, s) // the owner's, too
	page := other.follow(link).want(200, "h1", "Was this somebody else?").
		want(200, "main", "signed in with your password on ").want(200, "main", "from 127.0.0.1").
		want(200, ".losses", "to choose a new one to ada@example.org")
	if strings.Contains(page.Find(".losses").Text(), "again") {
		t.Error("the page restores an address that was not changed")
	}
	other.press(page).to("/check-your-mail?for=reject")
	other.get("/check-your-mail?for=reject").want(200, "main", "They’re locked out")
	added := count(t, s, `SELECT count(*) FROM cairn.identities WHERE provider = 'garmin'`)
	if intruder.signedIn() || added != 0 || newBrowser(t, s).entersWith(d).status == http.StatusSeeOther {
		t.Error("the intruder is signed in, or still has a sign-in method")
	}
	for _, known := range []string{password, "seven cold herons at the weir"} {
		intruder.post("/login", "email", "ada@example.org", "password", known).want(422, "#form-error", "Wrong")
	}
	other.resets(server, "ada@example.org")
	other.get("/account").want(200, "#activity", "Somebody was locked out")
	other.get("/connections").has("#card-strava[data-state=active]").has("#card-garmin:not([data-state=active])")
	other.follow(link).to("/account") // it is used
	if !signsIn(t, s, "strava", "ada") {
		t.Error("the owner's own sign-in method is gone")
	}
}

// If the intruder has changed the address, the owner's is restored, and no message goes to the other one. Links that
// the intruder got there meanwhile no longer work.
func TestRejectSignInRestoresTheAddress(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	joined(t, s, server, "ada@example.org")
	intruder, link := intrudes(t, s, server, "ada@example.org")
	for _, email := range []string{"thief@example.org", "thief2@example.org"} {
		intruder.post("/account/email", "email", email).to("/check-your-mail?for=change")
		intruder.press(intruder.follow(server.WaitFor(t, email, "Confirm your new").Link())).to("/account#email")
	}
	_, own := intrudes(t, s, server, "thief2@example.org")
	intruder.post("/forgot", "email", "thief2@example.org").to("/check-your-mail?for=reset")
	reset := server.WaitFor(t, "thief2@example.org", "Choose a new password").Link()
	undo := server.WaitFor(t, "thief@example.org", "e-mail address was changed").Link()
	before := len(server.Messages())

	owner := newBrowser(t, s)
	page := owner.follow(link).want(200, ".losses", "ada@example.org becomes the account’s e-mail again")
	owner.press(page).to("/check-your-mail?for=reject")
	owner.resets(server, "ada@example.org")
	for link, refused := range map[string]string{reset: "mailed-link", undo: "mailed-link", own: "not-me-link"} {
		newBrowser(t, s).follow(link).to("/login?notice=" + refused)
	}
	for _, m := range server.Messages()[before:] {
		if m.To != "ada@example.org" {
			t.Errorf("%q went to %s", m.Subject(), m.To)
		}
	}
	owner.get("/account").want(200, "#email", "ada@example.org")
	if intruder.signedIn() {
		t.Error("the intruder is in")
	}
}

// Once a change of address can't be undone, a link that went to the earlier address does not restore it.
func TestRejectSignInByAnAddressThatWasGivenUp(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	owner := joined(t, s, server, "ada@example.org")
	_, link := intrudes(t, s, server, "ada@example.org")
	owner.post("/account/email", "email", "new@example.org").to("/check-your-mail?for=change")
	owner.press(owner.follow(server.WaitFor(t, "new@example.org", "Confirm your new").Link())).to("/account#email")
	exec(t, s, `UPDATE cairn.links SET expires_at = now() WHERE purpose = 'undo'`)
	other := newBrowser(t, s)
	other.press(other.follow(link)).to("/login?notice=not-me-link")
	owner.get("/account").want(200, "#email", "new@example.org")
	owner.post("/login", "email", "new@example.org", "password", password).to("/")
}

// An undo of a change of address ends links of sign-ins that came after it, and leaves those that came before.
func TestUndoAndRejectSignIn(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	joined(t, s, server, "ada@example.org")
	intruder, before := intrudes(t, s, server, "ada@example.org")
	d := newDevice(s)
	intruder.addsPasskey(d)
	exec(t, s, `UPDATE cairn.passkeys SET created_at = created_at - interval '25 hours'`) // an undo leaves it
	exec(t, s, `UPDATE cairn.links SET created_at = created_at - interval '26 hours' WHERE purpose = 'reject'`)
	intruder.post("/account/email", "email", "thief@example.org").to("/check-your-mail?for=change")
	confirming := server.WaitFor(t, "thief@example.org", "Confirm your new").Link()
	intruder.press(intruder.follow(confirming)).to("/account#email")
	_, after := intrudes(t, s, server, "thief@example.org")
	owner := newBrowser(t, s)
	owner.press(owner.follow(server.WaitFor(t, "ada@example.org", "e-mail address was changed").Link())).
		to("/check-your-mail?for=undo")
	intruder.follow(after).to("/login?notice=not-me-link")
	newBrowser(t, s).entersWith(d).to("/account")
	owner.press(owner.follow(before)).to("/check-your-mail?for=reject")
	newBrowser(t, s).entersWith(d).want(422, "#form-error", "")
	owner.resets(server, "ada@example.org")
}

// What the owner had before stays: sessions, passkeys and known browsers. The method with which the session began does
// not sign in again.
func TestRejectSignInLeavesWhatWasThereBefore(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	owner := joined(t, s, server, "ada@example.org")
	own, stolen := newDevice(s), newDevice(s)
	owner.addsPasskey(own)
	owner.addsPasskey(stolen)
	owner.connect("strava", "ada").to("/")
	for name, enter := range map[string]func(intruder browser){
		"Strava": func(intruder browser) {
			intruder.get(intruder.decide(intruder.consent("/login/strava"), "ada", "allow")).to("/")
		},
		"a passkey": func(intruder browser) { intruder.entersWith(stolen).to("/account") },
	} {
		intruder := newBrowser(t, s)
		enter(intruder)
		link := server.WaitFor(t, "ada@example.org", "New sign-in with "+name).Link()
		intruder.post("/logout") // the link works without the session
		owner.press(owner.follow(link).want(200, ".losses", "")).to("/check-your-mail?for=reject")
		if !owner.signedIn() {
			t.Fatalf("%s: the owner is signed out", name)
		}
	}
	newBrowser(t, s).entersWith(stolen).want(422, "#form-error", "")
	newBrowser(t, s).entersWith(own).to("/account")
	intruder := newBrowser(t, s)
	intruder.failed(intruder.decide(intruder.consent("/login/strava"), "ada", "allow")).
		want(200, "#notice.bad", "can’t be used to sign in yet")
	owner.get("/connections").has("#card-strava[data-state=active]")
	owner.get("/account").has("#methods a[href$='/allow']")
	if n := count(t, s, `SELECT count(*) FROM cairn.browsers`); n != 2 {
		t.Errorf("%d browsers are known, want the owner's and that of the last passkey", n)
	}
}

// The link ends after a week, and another site can't press its button.
func TestRejectSignInLinkIsGoodForAWeek(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	joined(t, s, server, "ada@example.org")
	_, link := intrudes(t, s, server, "ada@example.org")
	b := newBrowser(t, s)
	exec(t, s, `UPDATE cairn.links SET expires_at = expires_at - interval '167 hours'`)
	page := b.follow(link).want(200, "h1", "somebody else")
	b.post("/not-me", "about", "x").to("/not-me")
	exec(t, s, `UPDATE cairn.links SET expires_at = expires_at - interval '1 hour'`)
	b.press(page).to("/login?notice=not-me-link")
	b.get("/login?notice=not-me-link").want(200, "#notice", "choose a new password")
}

// An intruder who adds a passkey, changes the address or signs in again at the same moment keeps nothing.
func TestRaceRejectSignInAgainstTheIntruder(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	second := newSiteWith(t, options{pool: s.pool, mail: server, public: s.url})
	for round := range testkit.Rounds(t) {
		exec(t, s, `DELETE FROM cairn.users`)
		exec(t, s, `DELETE FROM cairn.rate_limits`)
		email := fmt.Sprintf("ada%d@example.org", round)
		joined(t, s, server, email)
		intruder, link := intrudes(t, s, server, email)
		d, again, owner := newDevice(s), newBrowser(t, s), newBrowser(t, second)
		made := d.makes(t, intruder.options(addPasskey))
		intruder.post("/account/email", "email", "intruder-"+email).to("/check-your-mail?for=change")
		change := intruder.follow(server.WaitFor(t, "intruder-"+email, "Confirm your new").Link())
		page := owner.follow(link)
		together(
			func() { intruder.post(addPasskey, "answer", made) },
			func() { intruder.stolen().press(change) },
			func() { again.post("/login", "email", email, "password", password) },
			func() { owner.press(page).to("/check-your-mail?for=reject") },
		)
		left := count(t, s, `
			SELECT (SELECT count(*) FROM cairn.passkeys) + (SELECT count(*) FROM cairn.passwords) +
			       (SELECT count(*) FROM cairn.emails WHERE email <> $1)`, email)
		if left != 0 || intruder.signedIn() || again.signedIn() {
			t.Fatalf("round %d: %d things of the intruder are left, or a session", round, left)
		}
		if newBrowser(t, s).entersWith(d).status == http.StatusSeeOther {
			t.Fatalf("round %d: the intruder's passkey signs in", round)
		}
	}
}
