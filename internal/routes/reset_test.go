package routes_test

import (
	"net/url"
	"strings"
	"testing"

	"cairn/internal/sandbox"
	"cairn/internal/testkit"
)

const newPassword = "harbour mist under seven lamps"

// newMailSite returns a site that sends mail.
func newMailSite(t testing.TB) (site, *testkit.MailServer) {
	t.Helper()
	server := testkit.NewMailServer(t)
	return newSiteWith(t, options{mail: server, works: true}), server
}

// follow follows a link in a message to the page that it leads to.
func (b browser) follow(link string) answer {
	b.t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		b.t.Fatal(err)
	}
	a := b.get(u.RequestURI())
	a.to(u.Path)
	return b.get(u.Path)
}

// press posts the form of a page that was reached by a link.
func (b browser) press(a answer, fields ...string) answer {
	b.t.Helper()
	form := a.Find("main form[method=post]").Last()
	about := form.Find("input[name=about]").AttrOr("value", "")
	return b.post(form.AttrOr("action", ""), append(fields, "about", about)...)
}

// joined is a browser of a new person whose e-mail is proven.
func joined(t testing.TB, s site, server *testkit.MailServer, email string) browser {
	t.Helper()
	b := newBrowser(t, s)
	b.post("/signup", "name", "Ada", "email", email, "password", password).to("/check-your-mail?for=signup")
	page := b.follow(server.WaitFor(t, email, "Confirm your e-mail").Link())
	b.press(page.want(200, "h1", "Create your account")).to("/")
	return b
}

// With mail, a sign-up makes an account once its address is proven.
func TestSignUpByMail(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	b := joined(t, s, server, "ada@example.org")
	b.get("/account").want(200, "#email", "Confirmed")
	if n := count(t, s, `SELECT count(*) FROM cairn.links`); n != 0 {
		t.Errorf("%d links are left", n)
	}
	// The same for an address with an account, whose owner is told.
	stranger := newBrowser(t, s)
	stranger.post("/signup", "name", "Eve", "email", "Ada@example.org", "password", password).
		to("/check-your-mail?for=signup")
	taken := server.WaitFor(t, "Ada@example.org", "already have an account")
	if strings.Contains(taken.Text, "Eve") {
		t.Error("a stranger's words were delivered")
	}
	if n := count(t, s, `SELECT count(*) FROM cairn.users`); n != 1 {
		t.Errorf("there are %d users", n)
	}
}

// In another browser the link of a sign-up asks for the password, so that nobody proves an address for a stranger.
func TestSignUpInAnotherBrowser(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	newBrowser(t, s).post("/signup", "email", "ada@example.org", "password", password).to("/check-your-mail?for=signup")
	link := server.WaitFor(t, "ada@example.org", "Confirm").Link()
	other := newBrowser(t, s)
	page := other.follow(link).want(200, "label[for=password]", "Password")
	other.press(page, "password", newPassword).want(422, "#password-error", "Wrong password")
	other.press(page).want(422, "#password-error", "Wrong password")
	other.press(page, "password", password).to("/")
	other.get("/account").want(200, "#email", "Confirmed")
	newBrowser(t, s).get("/signup/confirm").to("/login?notice=mailed-link")
}

// A forgotten password is replaced by a link, once, which signs everybody out.
func TestResetByMail(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	b := joined(t, s, server, "ada@example.org")
	other := newBrowser(t, s)
	other.post("/forgot", "email", "ADA@example.org").to("/check-your-mail?for=reset")
	other.post("/forgot", "email", "nobody@example.org").to("/check-your-mail?for=reset")
	link := server.WaitFor(t, "ADA@example.org", "Choose a new password").Link()
	page := other.follow(link).want(200, "h1", "Choose a new password")
	other.press(page, "password", "short").want(422, "#password-error", "12 characters")
	other.press(page, "password", newPassword).to("/login?notice=password-reset")
	b.get("/account").to("/login?next=%2Faccount&notice=sign-in")
	b.post("/login", "email", "ada@example.org", "password", password).want(422, "#form-error", "Wrong")
	b.post("/login", "email", "ada@example.org", "password", newPassword).to("/")
	b.get("/account").want(200, "#activity", "A new password was set")
	server.WaitFor(t, "ada@example.org", "A new password was set")
	other.follow(link).want(303, "", "")
	testkit.Eventually(t, "nothing is left of requests", func() bool {
		return count(t, s, `SELECT (SELECT count(*) FROM cairn.links) + (SELECT count(*) FROM cairn.messages)`) == 0
	})
}

// Proof of an address that is not verified hands nobody what others put into an account.
func TestResetOfAnUnverifiedAddress(t *testing.T) {
	t.Parallel()
	server := testkit.NewMailServer(t)
	s := newSiteWith(t, options{mail: server, works: true})
	without := newSiteWith(t, options{pool: s.pool})
	alone := signedUp(t, without, "alone@example.org")
	shared := signedUp(t, without, "shared@example.org")
	shared.connect("strava", "ada").to("/")
	for email, location := range map[string]string{
		"alone@example.org":  "/login?notice=password-reset",
		"shared@example.org": "/signup?notice=email-freed",
	} {
		b := newBrowser(t, s)
		b.post("/forgot", "email", email).to("/check-your-mail?for=reset")
		page := b.follow(server.WaitFor(t, email, "Choose a new password").Link())
		b.press(page, "password", newPassword).to(location)
	}
	alone.at(s).get("/account").to("/login?next=%2Faccount&notice=sign-in")
	if n := count(t, s, `SELECT count(*) FROM cairn.emails WHERE email_key = 'shared@example.org'`); n != 0 {
		t.Error("the address was not freed")
	}
	if n := count(t, s, `SELECT count(*) FROM cairn.connections`); n != 1 {
		t.Error("the connection is gone")
	}
	back := newBrowser(t, s)
	back.get(back.decide(back.consent("/login/strava"), "ada", "allow")).to("/")
	back.get("/account").want(200, "#activity", "somebody proved that it is theirs")
}

// An account of a provider that was never confirmed does not pass to the person who proves the address: it is
// disconnected there, too. An operator's link leaves it.
func TestResetDropsUnconfirmedAccounts(t *testing.T) {
	t.Parallel()
	server := testkit.NewMailServer(t)
	s := newSiteWith(t, options{mail: server, works: true})
	without := newSiteWith(t, options{pool: s.pool})
	signedUp(t, without, "ada@example.org").connect("strava", "ada").to("/")
	exec(t, s, `UPDATE cairn.identities SET signs_in = false`)
	token, err := s.operate().Accounts.MakeResetLink(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	b := newBrowser(t, s)
	b.press(b.follow("/reset?token="+token), "password", newPassword).to("/login?notice=password-reset")
	if n := count(t, s, `SELECT count(*) FROM cairn.connections`); n != 1 {
		t.Errorf("after an operator's link there are %d connections, want 1", n)
	}
	b.post("/forgot", "email", "ada@example.org").to("/check-your-mail?for=reset")
	page := b.follow(server.WaitFor(t, "ada@example.org", "Choose a new password").Link())
	b.press(page, "password", password).to("/login?notice=password-reset")
	if n := count(t, s, `
		SELECT (SELECT count(*) FROM cairn.connections) + (SELECT count(*) FROM cairn.identities)`); n != 0 {
		t.Errorf("after a mailed link there are %d connections and identities, want none", n)
	}
	testkit.Eventually(t, "Strava has revoked our access", func() bool { return grantsOf(t, s, sandbox.Strava) == 0 })
}

// Links that strangers ask for neither flood a mailbox nor keep its owner from getting one.
func TestResetsAreBounded(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	b := joined(t, s, server, "ada@example.org")
	for range 5 {
		newBrowser(t, s).post("/forgot", "email", "ada@example.org").to("/check-your-mail?for=reset")
	}
	b.post("/forgot", "email", "ada@example.org").to("/check-your-mail?for=reset")
	allSent(t, s)
	resets := 0
	for _, m := range server.Messages() {
		if m.Subject() == "Choose a new password" {
			resets++
		}
	}
	if resets != 2 {
		t.Errorf("%d links were sent, want one for strangers and one for the browser that is known", resets)
	}
}

// Of several resets at once, on two servers, one sets the password.
func TestRaceResetIsGoodOnce(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	second := newSiteWith(t, options{pool: s.pool, mail: server})
	joined(t, s, server, "ada@example.org")
	for range testkit.Rounds(t) {
		unlimited(t, s)
		exec(t, s, `UPDATE cairn.links SET sent_at = sent_at - interval '1 hour'`)
		before := len(server.Messages())
		newBrowser(t, s).post("/forgot", "email", "ada@example.org").to("/check-your-mail?for=reset")
		var link string
		testkit.Eventually(t, "a link", func() bool {
			for _, m := range server.Messages()[before:] {
				if m.Subject() == "Choose a new password" {
					link = m.Link()
				}
			}
			return link != ""
		})
		results := make([]string, 6)
		var presses []func()
		for i := range results {
			b := newBrowser(t, []site{s, second}[i%2])
			page := b.follow(link)
			presses = append(presses, func() {
				results[i] = b.press(page, "password", newPassword).header.Get("Location")
			})
		}
		together(presses...)
		done := 0
		for _, location := range results {
			if location == "/login?notice=password-reset" {
				done++
			} else if location != "/login?notice=mailed-link" {
				t.Errorf("a reset led to %q", location)
			}
		}
		if done != 1 {
			t.Fatalf("%d of %d resets set the password", done, len(results))
		}
	}
}

// A person is told by mail of a connection that needs them, and of what changes how they sign in.
func TestNoticesByMail(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	b := joined(t, s, server, "ada@example.org")
	b.connect("strava", "ada").to("/")
	server.WaitFor(t, "ada@example.org", "Strava was added")
	grants, err := s.sandbox.Grants(t.Context(), "strava")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.sandbox.RevokeGrant(t.Context(), grants[0].ID); err != nil {
		t.Fatal(err)
	}
	b.post("/connections/strava/check")
	m := server.WaitFor(t, "ada@example.org", "connect Strava again")
	if want := s.url + "/connections#card-strava"; m.Link() != want {
		t.Errorf("the message leads to %q, want %q", m.Link(), want)
	}
	other := newBrowser(t, s)
	other.post("/login", "email", "ada@example.org", "password", password).to("/")
	m = server.WaitFor(t, "ada@example.org", "New sign-in with your password")
	if !strings.Contains(m.Text, "127.0.0.1") {
		t.Error("the message does not say from where")
	}
	b.get("/account").want(200, "#activity", "in a new browser").
		want(200, "#activity", "Strava has to be connected")
}

// An address that is not verified gets links that its owner asks for, and nothing else. A link counts in the account
// that is signed in.
func TestVerifyAnAddress(t *testing.T) {
	t.Parallel()
	server := testkit.NewMailServer(t)
	s := newSiteWith(t, options{mail: server, works: true})
	without := newSiteWith(t, options{pool: s.pool})
	b, other := signedUp(t, without, "ada@example.org").at(s), signedUp(t, without, "eve@example.org").at(s)
	b.get("/account").want(200, "#email", "Not confirmed yet")
	b.connect("strava", "ada").to("/")
	b.get("/account").want(200, "#activity", "Strava was added")
	b.post("/account/email/send").to("/account#email")
	link := server.WaitFor(t, "ada@example.org", "Confirm your e-mail").Link()
	allSent(t, s)
	if n := len(server.Messages()); n != 1 {
		t.Errorf("%d messages were sent, want 1", n)
	}
	other.follow(link).to("/account")
	page := b.follow(link).want(200, "h1", "Is ada@example.org yours?")
	b.press(page).to("/account#email")
	b.get("/account").want(200, "#email", "Confirmed")
	b.get("/account/email/verify").to("/account")
}

// A mail server that refuses an address for good is named on the account's page.
func TestRefusedAddress(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	b := joined(t, s, server, "ada@example.org")
	server.Answer("RCPT", 550, "5.1.1", "no such user")
	b.connect("strava", "ada").to("/")
	testkit.Eventually(t, "the refusal is noted", func() bool {
		return count(t, s, `SELECT count(*) FROM cairn.emails WHERE refused_at IS NOT NULL`) == 1
	})
	b.get("/account").want(200, "#email", "refused our last message")
}
