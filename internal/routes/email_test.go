package routes_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"cairn/internal/testkit"
)

// A new address is used once its link is opened in a browser that is signed in. The old address gets a message, and can
// undo the change.
func TestChangeOfAddressAndUndo(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	b := joined(t, s, server, "ada@example.org")
	b.post("/account/email", "email", "Ada@example.org").want(422, "#email-error", "already")
	b.post("/account/email", "email", "new@example.org").to("/check-your-mail?for=change")
	link := server.WaitFor(t, "new@example.org", "Confirm your new e-mail").Link()
	newBrowser(t, s).get(strings.TrimPrefix(link, s.url)).to("/account/email/confirm")
	page := b.follow(link).want(200, "h1", "Use new@example.org from now on?")
	b.press(page).to("/account#email")
	b.get("/account").want(200, "#email", "new@example.org").want(200, "#activity", "changed to new@example.org")
	b.connect("strava", "ada").to("/")
	exec(t, s, `UPDATE cairn.passwords SET changed_at = now()`)

	// The owner's mailbox undoes it, in a browser that is not signed in.
	undo := server.WaitFor(t, "ada@example.org", "e-mail address was changed").Link()
	owner := newBrowser(t, s)
	page = owner.follow(undo).want(200, "h1", "Take your account back?")
	owner.press(page).to("/check-your-mail?for=undo")
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

// Undoing a change removes an account at a provider that was allowed to sign in just before. Strangers who ask for
// links can't keep the one for a new password from being sent.
func TestUndoDespiteOthers(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	b := joined(t, s, server, "ada@example.org")
	allow := b.unconfirmed("strava", "max")
	exec(t, s, `UPDATE cairn.identities SET created_at = created_at - interval '30 days'`)
	b.post(allow).to("/account#methods")
	b.post("/account/email", "email", "thief@example.org").to("/check-your-mail?for=change")
	b.press(b.follow(server.WaitFor(t, "thief@example.org", "Confirm your new").Link())).to("/account#email")
	limit := s.accounts.Limits.ResetStrangers
	for range limit.Max {
		if err := s.accounts.Allow(t.Context(), limit.Of(count(t, s, `SELECT id FROM cairn.users`))); err != nil {
			t.Fatal(err)
		}
	}
	owner := newBrowser(t, s)
	owner.press(owner.follow(server.WaitFor(t, "ada@example.org", "e-mail address was changed").Link())).
		to("/check-your-mail?for=undo")
	if n := methods(t, s); n != 0 {
		t.Errorf("%d sign-in methods are left", n)
	}
	page := owner.follow(server.WaitFor(t, "ada@example.org", "Choose a new password").Link())
	owner.press(page, "password", newPassword).to("/login?notice=password-reset")
}

// After a change is undone, later changes can't be undone any more: an intruder would get the account back that way.
func TestUndoEndsLaterUndos(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	b := joined(t, s, server, "ada@example.org")
	for _, email := range []string{"thief@example.org", "thief2@example.org"} {
		b.post("/account/email", "email", email).to("/check-your-mail?for=change")
		b.press(b.follow(server.WaitFor(t, email, "Confirm your new").Link())).to("/account#email")
	}
	intruder := server.WaitFor(t, "thief@example.org", "e-mail address was changed").Link()
	owner := newBrowser(t, s)
	page := owner.follow(server.WaitFor(t, "ada@example.org", "e-mail address was changed").Link())
	owner.press(page).to("/check-your-mail?for=undo")
	other := newBrowser(t, s)
	other.follow(intruder).to("/login?notice=mailed-link")
	if n := count(t, s, `SELECT count(*) FROM cairn.emails WHERE email = 'ada@example.org'`); n != 1 {
		t.Error("the owner's address is not back")
	}
}

// If another account has the new address by the time its link is opened, nothing is changed.
func TestChangeToATakenAddress(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	b := joined(t, s, server, "ada@example.org")
	b.post("/account/email", "email", "eve@example.org").to("/check-your-mail?for=change")
	page := b.follow(server.WaitFor(t, "eve@example.org", "Confirm your new").Link())
	joined(t, s, server, "eve@example.org")
	b.press(page).to("/account#email")
	b.get("/account").want(200, "#email", "Another account has this e-mail").want(200, "#email", "ada@example.org")
}

// A reset ends a pending change of address, and a change ends a pending reset.
func TestRaceChangeAgainstReset(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	second := newSiteWith(t, options{pool: s.pool, mail: server})
	for round := range testkit.Rounds(t) {
		email := fmt.Sprintf("ada%d@example.org", round)
		b := joined(t, s, server, email)
		b.post("/account/email", "email", "new-"+email).to("/check-your-mail?for=change")
		other := newBrowser(t, second)
		other.post("/forgot", "email", email).to("/check-your-mail?for=reset")
		change := b.follow(server.WaitFor(t, "new-"+email, "Confirm your new").Link())
		reset := other.follow(server.WaitFor(t, email, "Choose a new password").Link())
		var changed, done answer
		together(
			func() { changed = b.press(change) },
			func() { done = other.press(reset, "password", newPassword) })
		c := changed.header.Get("Location") == "/account#email"
		r := done.header.Get("Location") == "/login?notice=password-reset"
		if c == r {
			t.Fatalf("round %d: changed %v, reset %v, want one of them", round, c, r)
		}
		exec(t, s, `DELETE FROM cairn.users`)
		exec(t, s, `DELETE FROM cairn.rate_limits`)
	}
}

// If two accounts change to each other's address at once, both keep their own.
func TestRaceExchangeOfAddresses(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	second := newSiteWith(t, options{pool: s.pool, mail: server})
	ada, eve := joined(t, s, server, "ada@example.org"), joined(t, second, server, "eve@example.org")
	browsers := map[string]browser{"eve@example.org": ada, "ada@example.org": eve} // by the address that they ask for
	for range testkit.Rounds(t) {
		before := len(server.Messages())
		for to, b := range browsers {
			b.post("/account/email", "email", to).to("/check-your-mail?for=change")
		}
		testkit.Eventually(t, "both links come", func() bool { return len(server.Messages()) == before+2 })
		var presses []func()
		var answers [2]answer
		for i, m := range server.Messages()[before:] {
			b := browsers[m.To]
			page := b.follow(m.Link())
			presses = append(presses, func() { answers[i] = b.press(page) })
		}
		whileUsersAreHeld(t, s, presses...)
		for _, a := range answers {
			if location := a.header.Get("Location"); location != "/account#email" {
				t.Fatalf("an answer leads to %q", location)
			}
		}
		exec(t, s, `DELETE FROM cairn.links`)
		exec(t, s, `DELETE FROM cairn.rate_limits`)
	}
	ada.get("/account").want(200, "#email", "ada@example.org")
	eve.get("/account").want(200, "#email", "eve@example.org")
}

// whileUsersAreHeld calls all of these at once, while a lock keeps them from the users until each waits for one.
func whileUsersAreHeld(t *testing.T, s site, all ...func()) {
	t.Helper()
	release := holding(t, s, `SELECT FROM cairn.users FOR UPDATE`)
	var wg sync.WaitGroup
	for _, do := range all {
		wg.Go(do)
	}
	awaitWaiting(t, s, len(all))
	release()
	wg.Wait()
}

// Undoing a change takes everything from the person who made it: the password that they knew, a sign-in method that
// they added just before, and an unproven claim on the old address.
func TestUndoLeavesNothingToAnIntruder(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	b := joined(t, s, server, "ada@example.org")
	b.connect("strava", "max").to("/")
	b.post("/account/email", "email", "thief@example.org").to("/check-your-mail?for=change")
	b.press(b.follow(server.WaitFor(t, "thief@example.org", "Confirm your new").Link())).to("/account#email")
	undo := server.WaitFor(t, "ada@example.org", "e-mail address was changed").Link()
	exec(t, s, `
		WITH intruder AS (INSERT INTO cairn.users (display_name) VALUES ('Thief') RETURNING id)
		INSERT INTO cairn.emails (user_id, email, email_key)
		SELECT id, 'ada@example.org', 'ada@example.org' FROM intruder`)
	owner := newBrowser(t, s)
	owner.press(owner.follow(undo)).to("/check-your-mail?for=undo")
	if n := methods(t, s); n != 0 {
		t.Errorf("%d sign-in methods are left", n)
	}
	b.post("/login", "email", "ada@example.org", "password", password).want(422, "#form-error", "Wrong")
	page := owner.follow(server.WaitFor(t, "ada@example.org", "Choose a new password").Link())
	owner.press(page, "password", newPassword).to("/login?notice=password-reset")
}

// A password can be added only to a proven address, so that nobody claims a stranger's.
func TestPasswordNeedsAProvenAddress(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	b := newBrowser(t, s)
	b.get(b.decide(b.consent("/login/strava"), "ada", "allow")).to("/")
	b.post("/account/password", "email", "eve@example.org", "password", password).to("/account/email")
	b.post("/account/email", "email", "ada@example.org").to("/check-your-mail?for=change")
	b.press(b.follow(server.WaitFor(t, "ada@example.org", "Confirm your new").Link())).to("/account#email")
	b.post("/account/password", "password", newPassword).to("/account#h-password")
	newBrowser(t, s).post("/login", "email", "ada@example.org", "password", newPassword).to("/")
}

// A stranger's address gets few messages, whether one person asks for them or many.
func TestMessagesToAStrangerAreBounded(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	b := joined(t, s, server, "ada@example.org")
	for range 5 {
		b.post("/account/email", "email", "victim@example.org").to("/check-your-mail?for=change")
	}
	for range 5 {
		newBrowser(t, s).post("/signup", "email", "victim@example.org", "password", password).
			to("/check-your-mail?for=signup")
	}
	allSent(t, s)
	came := func() (n int) {
		for _, m := range server.Messages() {
			if m.To == "victim@example.org" {
				n++
			}
		}
		return n
	}
	if n := came(); n != 6 {
		t.Errorf("%d messages came, want 3 of each kind", n)
	}
	// An hour later, the owner's own sign-up takes the place of a stranger's.
	exec(t, s, `UPDATE cairn.links SET sent_at = sent_at - interval '61 minutes'`)
	owner := newBrowser(t, s)
	owner.post("/signup", "email", "victim@example.org", "password", newPassword).to("/check-your-mail?for=signup")
	testkit.Eventually(t, "the owner's message comes", func() bool { return came() == 7 })
	all := server.Messages()
	owner.press(owner.follow(all[len(all)-1].Link())).to("/")
}

// Two sign-ups of one address that are confirmed at once make one account, and neither fails.
func TestRaceSignUpsOfOneAddress(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	second := newSiteWith(t, options{pool: s.pool, mail: server})
	for range testkit.Rounds(t) {
		before := len(server.Messages())
		browsers := []browser{newBrowser(t, s), newBrowser(t, second)}
		for _, b := range browsers {
			b.post("/signup", "email", "ada@example.org", "password", password).to("/check-your-mail?for=signup")
		}
		testkit.Eventually(t, "both links come", func() bool { return len(server.Messages()) == before+2 })
		got := make([]string, len(browsers))
		var presses []func()
		for i, b := range browsers {
			page := b.follow(server.Messages()[before+i].Link())
			presses = append(presses, func() {
				got[i] = b.press(page, "password", password).header.Get("Location")
			})
		}
		together(presses...)
		if !slices.Contains(got, "/") || !slices.Contains(got, "/login?notice=mailed-link") {
			t.Fatalf("they lead to %q", got)
		}
		exec(t, s, `DELETE FROM cairn.users`)
		exec(t, s, `DELETE FROM cairn.rate_limits`)
	}
}
