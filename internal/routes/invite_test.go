package routes_test

import (
	"strings"
	"testing"

	"cairn/internal/auth"
	"cairn/internal/testkit"
)

// invite returns the link that an operator hands over.
func invite(t *testing.T, s site, email string) (link string) {
	t.Helper()
	token, _, err := s.accounts.Invite(t.Context(), email)
	if err != nil {
		t.Fatal(err)
	}
	return "/invitation?token=" + token
}

// opened is a browser that has opened an invitation, and its page.
func opened(t *testing.T, s site, link string) (browser, answer) {
	t.Helper()
	b := newBrowser(t, s)
	b.get(link).to("/signup")
	return b, b.get("/signup").want(200, "h1", "Create your account")
}

// accept posts the form of an invitation's page.
func (b browser) accept(page answer, fields ...string) answer {
	b.t.Helper()
	about := page.Find("form[action='/signup'] input[name=about]").AttrOr("value", "")
	return b.post("/signup", append(fields, "about", about)...)
}

func (b browser) visit(provider, person string) answer {
	b.t.Helper()
	return b.get(b.decide(b.consent("/login/"+provider), person, "allow"))
}

// With SIGNUP=closed or invite, people without an invitation get no account, and people with an account sign in.
func TestNoAccountWithoutAnInvitation(t *testing.T) {
	t.Parallel()
	open := newSite(t)
	signedUp(t, open, "ada@example.org").connect("strava", "ada").to("/")
	for admits, says := range map[auth.Admission]string{
		auth.ByInvitation: "New accounts need an invitation", auth.Closed: "No new accounts are made here",
	} {
		s := newSiteWith(t, options{pool: open.pool, admits: admits, contact: "help@example.org"})
		b := newBrowser(t, s)
		page := b.get("/signup").want(200, "main", says).want(200, "main", "help@example.org")
		if page.Find("main form").Length() != 0 {
			t.Errorf("%s: the page has a form", admits)
		}
		b.get("/login").want(200, "main", says)
		b.post("/signup", "name", "Eve", "email", "eve@example.org", "password", password).want(403, "main", says)
		b.visit("strava", "moss").to("/login?notice=uninvited-strava")
		b.get("/login?notice=uninvited-strava").want(200, "#notice", "New accounts need an invitation")
		b.get("/invitation?token=" + strings.Repeat("A", 43)).to("/signup")
		b.get("/signup").want(200, "main", says)
		b.visit("strava", "ada").to("/")
		newBrowser(t, s).post("/login", "email", "ada@example.org", "password", password).to("/")
	}
	if n := count(t, open, `SELECT count(*) FROM cairn.users`); n != 1 {
		t.Errorf("there are %d users", n)
	}
}

// A sign-up that began while everybody could have an account ends where that is over.
func TestSignUpThatIsTooLate(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	b := newBrowser(t, s)
	b.post("/signup", "email", "ada@example.org", "password", password).to("/check-your-mail?for=signup")
	link := server.WaitFor(t, "ada@example.org", "Confirm").Link()
	closed := newSiteWith(t, options{pool: s.pool, mail: server, admits: auth.Closed})
	late := b.at(closed)
	late.press(late.follow(link)).want(403, "#form-error", "No new accounts are made here")
	if n := count(t, s, `SELECT count(*) FROM cairn.users`); n != 0 {
		t.Errorf("there are %d users", n)
	}
}

// An invitation makes one account, which has its address, by a password.
func TestInvitationToAPassword(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, options{admits: auth.Closed})
	link := invite(t, s, "Ada@example.org")
	b, page := opened(t, s, link)
	if page.Find("input[name=email]").AttrOr("value", "") != "Ada@example.org" {
		t.Error("the page does not name the address")
	}
	b.accept(page, "password", "short").want(422, "#password-error", "12 characters")
	b.post("/signup", "email", "ada@example.org", "password", password).to("/signup") // not from that page
	b.accept(page, "name", "Ada", "email", "eve@example.org", "password", password).to("/")
	b.get("/account").want(200, "#email", "Ada@example.org")
	again := newBrowser(t, s)
	again.get(link).to("/signup")
	again.get("/signup").want(200, "main", "No new accounts are made here")
	again.post("/signup", "email", "eve@example.org", "password", password).want(403, "", "")
	if _, _, err := s.accounts.Invite(t.Context(), "ADA@example.org"); err == nil {
		t.Error("somebody with an account was invited")
	}
	if n := count(t, s, `SELECT count(*) FROM cairn.emails WHERE verified_at IS NULL`); n != 1 {
		t.Error("a link that was not mailed proved an address")
	}
}

// A provider makes an account only in the browser that holds an invitation. Signing in to an account doesn't use it up.
func TestInvitationToAProvider(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, options{admits: auth.ByInvitation})
	open := newSiteWith(t, options{pool: s.pool})
	newBrowser(t, open).visit("strava", "moss").to("/")
	b, _ := opened(t, s, invite(t, s, "ada@example.org"))
	b.visit("strava", "moss").to("/")
	b.post("/logout").to("/?notice=signed-out")
	newBrowser(t, s).visit("strava", "ada").to("/login?notice=uninvited-strava")
	b, _ = opened(t, s, invite(t, s, "ada@example.org"))
	b.visit("strava", "ada").to("/")
	b.get("/account").want(200, "#email", "ada@example.org")
	b.post("/logout").to("/?notice=signed-out")
	b.visit("garmin", "ada").to("/login?notice=uninvited-garmin")
	if n := count(t, s, `SELECT count(*) FROM cairn.links`); n != 0 {
		t.Errorf("%d invitations are left", n)
	}
}

// The link that was mailed proves the address. With it the other one is used up.
func TestMailedInvitation(t *testing.T) {
	t.Parallel()
	server := testkit.NewMailServer(t)
	s := newSiteWith(t, options{mail: server, works: true, admits: auth.ByInvitation})
	printed := invite(t, s, "ada@example.org")
	b := newBrowser(t, s)
	mailed := server.WaitFor(t, "ada@example.org", "You’re invited").Link()
	_, query, _ := strings.Cut(mailed, "?")
	b.get("/invitation?" + query).to("/signup")
	b.accept(b.get("/signup"), "password", password).to("/")
	b.get("/account").want(200, "#email", "Confirmed")
	other := newBrowser(t, s)
	other.get(printed).to("/signup")
	other.get("/signup").want(200, "main", "New accounts need an invitation")
}

func TestInvitationsEnd(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, options{admits: auth.ByInvitation})
	replaced := invite(t, s, "ada@example.org")
	link := invite(t, s, "ada@example.org")
	gone := newBrowser(t, s)
	gone.get(replaced).to("/signup")
	gone.get("/signup").want(200, "main", "New accounts need an invitation")
	b, page := opened(t, s, link)
	exec(t, s, `UPDATE cairn.links SET expires_at = expires_at - interval '167 hours'`)
	b.get("/signup").want(200, "form[action='/signup']", "")
	exec(t, s, `UPDATE cairn.links SET expires_at = expires_at - interval '2 hours'`)
	b.accept(page, "password", password).want(403, "main", "New accounts need an invitation")
}

// Of several sign-ups at once with one invitation, on two servers, by a password and a provider, one makes an account.
func TestRaceInvitationIsGoodOnce(t *testing.T) {
	t.Parallel()
	one := newSiteWith(t, options{admits: auth.ByInvitation})
	sites := [2]site{one, newSiteWith(t, options{pool: one.pool, admits: auth.ByInvitation})}
	for round := range testkit.Rounds(t) {
		unlimited(t, one)
		link := invite(t, one, "ada@example.org")
		var acts []func()
		for i, s := range sites {
			byPassword, page := opened(t, s, link)
			byProvider, _ := opened(t, s, link)
			consent := byProvider.decide(byProvider.consent("/login/strava"), []string{"ada", "moss"}[i], "allow")
			acts = append(acts,
				func() { byPassword.accept(page, "password", password) },
				func() { byProvider.get(consent) })
		}
		together(acts...)
		if n := count(t, one, `SELECT count(*) FROM cairn.users`); n != 1 {
			t.Fatalf("round %d: %d accounts", round, n)
		}
		exec(t, one, `DELETE FROM cairn.users`)
	}
	if log := sites[0].log.String() + sites[1].log.String(); strings.Contains(log, "40P01") ||
		strings.Contains(log, `msg="request failed"`) {
		t.Error("a deadlock, or another failure")
	}
}
