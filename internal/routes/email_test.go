package routes_test

import (
	"strings"
	"testing"

	"cairn/internal/testkit"
)

// A new address counts once its link is opened in a browser that is signed in. The old one is told, and can undo it.
func TestChangeOfAddressAndUndo(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	b := joined(t, s, server, "ada@example.org")
	b.post("/account/email", "email", "Ada@example.org").want(422, "#email-error", "already")
	b.post("/account/email", "email", "new@example.org").to("/check-your-mail")
	link := server.WaitFor(t, "new@example.org", "Confirm your new e-mail").Link()
	newBrowser(t, s).get(strings.TrimPrefix(link, s.url)).to("/account/email/confirm")
	page := b.follow(link).want(200, "h1", "Use new@example.org from now on?")
	b.press(page).to("/account#email")
	b.get("/account").want(200, "#email", "new@example.org").want(200, "#activity", "changed to new@example.org")
	b.connect("strava", "ada").to("/")
	exec(t, s, `UPDATE cairn.passwords SET changed_at = now()`)

	// The owner's mailbox undoes it, in a browser that is not signed in.
	undo := server.WaitFor(t, "ada@example.org", "has another e-mail now").Link()
	owner := newBrowser(t, s)
	page = owner.follow(undo).want(200, "h1", "Take your account back?")
	owner.press(page).to("/check-your-mail")
	b.get("/account").to("/login?next=%2Faccount&notice=sign-in")
	if n := methods(t, s); n != 0 {
		t.Errorf("%d sign-in methods that were added or changed since are left", n)
	}
	reset := server.WaitFor(t, "ada@example.org", "Choose a new password").Link()
	page = owner.follow(reset).want(200, "h1", "Choose a new password")
	owner.press(page, "password", newPassword).to("/login?notice=password-reset")
	owner.post("/login", "email", "ada@example.org", "password", newPassword).to("/")
	owner.get("/account").want(200, "#email", "ada@example.org").want(200, "#activity", "restored")
	owner.follow(undo).want(303, "", "")
}

// Undoing a change ends the undo of every later one, so that a thief can't change back.
func TestUndoEndsLaterUndos(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	b := joined(t, s, server, "ada@example.org")
	for _, email := range []string{"thief@example.org", "thief2@example.org"} {
		b.post("/account/email", "email", email).to("/check-your-mail")
		b.press(b.follow(server.WaitFor(t, email, "Confirm your new").Link())).to("/account#email")
	}
	thief := server.WaitFor(t, "thief@example.org", "has another e-mail now").Link()
	owner := newBrowser(t, s)
	page := owner.follow(server.WaitFor(t, "ada@example.org", "has another e-mail now").Link())
	owner.press(page).to("/check-your-mail")
	other := newBrowser(t, s)
	other.follow(thief).to("/login?notice=mailed-link")
	if n := count(t, s, `SELECT count(*) FROM cairn.emails WHERE email = 'ada@example.org'`); n != 1 {
		t.Error("the owner's address is not back")
	}
}

// An address that another account has by the time the link is opened changes nothing.
func TestChangeToATakenAddress(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	b := joined(t, s, server, "ada@example.org")
	b.post("/account/email", "email", "eve@example.org").to("/check-your-mail")
	page := b.follow(server.WaitFor(t, "eve@example.org", "Confirm your new").Link())
	joined(t, s, server, "eve@example.org")
	b.press(page).to("/account#email")
	b.get("/account").want(200, "#email", "Another account has this e-mail").want(200, "#email", "ada@example.org")
}

// A reset ends a change of address that is pending, and the other way round.
func TestRaceChangeAgainstReset(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	second := newSiteWith(t, options{pool: s.pool, mail: server})
	for round := range testkit.Rounds(t) {
		email := strings.Repeat("a", round%50+1) + "@example.org"
		b := joined(t, s, server, email)
		b.post("/account/email", "email", "new-"+email).to("/check-your-mail")
		other := newBrowser(t, second)
		other.post("/forgot", "email", email).to("/check-your-mail")
		change := b.follow(server.WaitFor(t, "new-"+email, "Confirm your new").Link())
		reset := other.follow(server.WaitFor(t, email, "Choose a new password").Link())
		changed, done := make(chan bool), make(chan bool)
		go func() { changed <- b.press(change).header.Get("Location") == "/account#email" }()
		go func() {
			a := other.press(reset, "password", newPassword)
			done <- a.header.Get("Location") == "/login?notice=password-reset"
		}()
		if c, r := <-changed, <-done; c == r {
			t.Fatalf("round %d: changed %v, reset %v, want one of them", round, c, r)
		}
		exec(t, s, `DELETE FROM cairn.users`)
		exec(t, s, `DELETE FROM cairn.rate_limits`)
	}
}
