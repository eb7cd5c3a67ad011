package routes_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"
	"github.com/pquerna/otp/totp"

	"cairn/internal/testkit"
)

const (
	appPage  = "/account/app"
	codePage = "/login/code"
)

// appClock is the clock of authenticator apps and of the site. It moves on by 30 seconds for each code, so that no two
// are the same.
type appClock struct{ ahead atomic.Int64 }

func (w *appClock) offset() time.Duration { return time.Duration(w.ahead.Load()) }

// app is an authenticator app of one account.
type app struct {
	t      testing.TB
	clock  *appClock
	secret string
}

// code is the next code that the app shows.
func (a app) code() string {
	a.t.Helper()
	a.clock.ahead.Add(int64(30 * time.Second))
	code, err := totp.GenerateCode(a.secret, time.Now().Add(a.clock.offset()))
	if err != nil {
		a.t.Fatal(err)
	}
	return code
}

// wrong is a code that no app shows around now.
func (a app) wrong() string {
	a.t.Helper()
	for _, candidate := range []string{"000000", "111111", "222222", "333333"} {
		right := false
		for ahead := -2; ahead <= 2; ahead++ {
			at := time.Now().Add(a.clock.offset() + time.Duration(ahead)*30*time.Second)
			code, err := totp.GenerateCode(a.secret, at)
			right = right || err != nil || code == candidate
		}
		if !right {
			return candidate
		}
	}
	a.t.Fatal("no code is wrong")
	return ""
}

// newCodeSite returns a site with a clock for its codes.
func newCodeSite(t testing.TB, o options) (site, *appClock) {
	t.Helper()
	clock := &appClock{}
	o.clock = clock.offset
	return newSiteWith(t, o), clock
}

// setsUpApp adds an authenticator app to the account, and returns the answer to its first code.
func (b browser) setsUpApp(clock *appClock) (app, answer) {
	b.t.Helper()
	page := b.get(appPage).want(http.StatusOK, "h1", "Set up")
	mine := app{b.t, clock, strings.ReplaceAll(page.Find("code.key").Text(), " ", "")}
	sealed := page.Find("input[name=secret]").AttrOr("value", "")
	return mine, b.post(appPage, "secret", sealed, "code", mine.code())
}

// recoveryCodes are those on a page that shows them.
func (a answer) recoveryCodes() []string {
	a.t.Helper()
	a.want(http.StatusOK, "h1", "Save your recovery codes")
	return a.Find("ol.codes code").Map(func(_ int, s *goquery.Selection) string { return s.Text() })
}

// provesPassword signs in with a password, up to the page for a code.
func (b browser) provesPassword(email string) {
	b.t.Helper()
	b.post("/login", "email", email, "password", password).to(codePage + "?next=%2F")
}

func TestTwoSteps(t *testing.T) {
	t.Parallel()
	results := map[string]int{}
	s, clock := newCodeSite(t, options{signIn: func(method, result string) { results[method+" "+result]++ }})
	owner := signedUp(t, s, "ada@example.org")
	page := owner.get(appPage).want(200, "svg.qr path", "")
	sealed := page.Find("input[name=secret]").AttrOr("value", "")
	secret := strings.ReplaceAll(page.Find("code.key").Text(), " ", "")
	if link := page.Find("li a[href^=otpauth]").AttrOr("href", ""); !strings.Contains(link, secret) {
		t.Errorf("the link to an app is %q", link)
	}
	mine := app{t, clock, secret}
	again := owner.post(appPage, "secret", sealed, "code", mine.wrong()).want(422, "#code-error", "isn’t right")
	if again.Find("input[name=secret]").AttrOr("value", "") != sealed {
		t.Error("after a wrong code, the page shows another secret")
	}
	codes := owner.post(appPage, "secret", sealed, "code", mine.code()).recoveryCodes()
	if len(codes) != 10 {
		t.Fatalf("there are %d recovery codes", len(codes))
	}
	owner.get("/account").want(200, "#two-step", "10 left").want(200, "#activity", "authenticator app was set up")

	other := newBrowser(t, s)
	other.provesPassword("ada@example.org")
	if other.signedIn() {
		t.Fatal("a password alone signs in")
	}
	other.get(codePage).want(200, "h1", "Enter your code")
	other.post(codePage, "code", mine.wrong()).want(422, "#code-error", "isn’t right")
	right := mine.code()
	other.post(codePage, "code", right[:3]+" "+right[3:], "next", "/account").to("/account")
	other.get("/account").want(200, "#sessions .here", "Signed in with your password")

	third := newBrowser(t, s)
	third.provesPassword("ada@example.org")
	third.post(codePage, "code", right).want(422, "#code-error", "Each code works once")
	third.get(codePage+"?with=recovery").want(200, "label[for=code]", "Recovery code")
	third.post(codePage, "code", strings.ToUpper(codes[3]), "with", "recovery").to("/")
	third.get("/account").want(200, "#two-step", "9 left").want(200, "#activity", "A recovery code was used: 9 left")
	fourth := newBrowser(t, s)
	fourth.provesPassword("ada@example.org")
	fourth.post(codePage, "code", codes[3], "with", "recovery").want(422, "#code-error", "isn’t right")
	fourth.post(codePage, "code", codes[4]).to("/")
	if results["password code_asked"] != 3 || results["password ok"] != 3 || results["password refused"] != 3 {
		t.Errorf("observed %v", results)
	}
}

// A provider's account takes a code, too. Its tokens are stored all the same, because the earlier ones may have ended.
func TestProviderTakesACode(t *testing.T) {
	t.Parallel()
	s, clock := newCodeSite(t, options{})
	owner := newBrowser(t, s)
	owner.visit("strava", "ada").to("/")
	mine, answer := owner.setsUpApp(clock)
	answer.recoveryCodes()
	before := count(t, s, `SELECT hashtext(encode(sealed_tokens, 'hex')) FROM cairn.connections`)
	other := newBrowser(t, s)
	other.visit("strava", "ada").to(codePage + "?next=%2F")
	if other.signedIn() {
		t.Fatal("a provider alone signs in")
	}
	if count(t, s, `SELECT hashtext(encode(sealed_tokens, 'hex')) FROM cairn.connections`) == before {
		t.Error("the tokens of the sign-in were dropped")
	}
	other.post(codePage, "code", mine.code()).to("/")
	other.get("/account").want(200, "#sessions .here", "Signed in with Strava")
}

// A person may skip the code after a provider that has two-step verification. Re-authentication still takes one.
func TestProviderWithoutACode(t *testing.T) {
	t.Parallel()
	s, clock := newCodeSite(t, options{})
	owner := newBrowser(t, s)
	owner.visit("garmin", "ada").to("/")
	owner.connect("strava", "ada")
	path := func(provider string) string {
		var id string
		err := s.pool.QueryRow(t.Context(), `SELECT id FROM cairn.identities WHERE provider = $1`, provider).Scan(&id)
		if err != nil {
			t.Fatal(err)
		}
		return "/account/methods/" + id + "/code"
	}
	owner.get(path("garmin")).want(404, "", "") // there is no app yet
	mine, _ := owner.setsUpApp(clock)
	owner.get(path("strava")).want(404, "", "") // it has no two-step verification
	owner.post(path("strava"), "about", "false").want(404, "", "")
	owner.get(path("garmin")).want(200, "main", "turn on two-step verification at Garmin first")
	owner.post(path("garmin"), "about", "false").to("/account#methods")
	owner.get("/account").want(200, "#methods", "without a code").want(200, "#activity", "no longer asks for a code")
	other := newBrowser(t, s)
	other.visit("garmin", "ada").to("/")
	other.asked("/account/data")
	other.get(appPage).to(confirming(appPage))
	other.visit("strava", "ada").to(codePage + "?next=%2F")
	owner.post(path("garmin"), "about", "true").to("/account#methods")
	newBrowser(t, s).visit("garmin", "ada").to(codePage + "?next=%2F")
	other.post(codePage, "code", mine.code())
	owner.post(path("garmin"), "about", "false").to("/account#methods")
	owner.post(appPage + "/remove").to("/account#two-step")
	_, _ = owner.setsUpApp(clock) // and says that a code is asked for
	newBrowser(t, s).visit("garmin", "ada").to(codePage + "?next=%2F")
}

// A trusted browser needs no code at sign-in, but for re-authentication. The trust ends when credentials change.
func TestTrustedBrowser(t *testing.T) {
	t.Parallel()
	s, clock := newCodeSite(t, options{})
	owner := signedUp(t, s, "ada@example.org")
	mine, answer := owner.setsUpApp(clock)
	answer.recoveryCodes()
	b := newBrowser(t, s)
	trust := func() {
		t.Helper()
		b.post("/logout")
		b.provesPassword("ada@example.org")
		b.post(codePage, "code", mine.code(), "trust", "on").to("/")
		b.post("/logout")
		b.post("/login", "email", "ada@example.org", "password", password).to("/")
	}
	asked := func(what string) {
		t.Helper()
		b.post("/logout")
		if a := b.post("/login", "email", "ada@example.org", "password", password); a.header.Get("Location") == "/" {
			t.Errorf("after %s, the browser is still trusted", what)
		}
	}
	trust()
	page := b.get("/account").want(200, "#two-step", "Signs in without a code until")
	b.get(appPage).to(confirming(appPage)) // one factor is not recent
	b.post("/account/confirm", "password", password, "next", appPage).to(codePage + "?next=%2Faccount%2Fapp")
	if b.get(codePage).Find("#trust").Length() != 0 {
		t.Error("the browser can be trusted while it confirms")
	}
	b.post(codePage, "code", mine.code(), "next", appPage, "trust", "on").to(appPage)
	b.post(page.Find("#two-step form").AttrOr("action", "")).to("/account#two-step")
	asked("ending the trust")
	b.provesPassword("ada@example.org")
	b.post(codePage, "code", mine.code()).to("/")
	trust()
	newBrowser(t, s).post("/login", "email", "ada@example.org", "password", password).to(codePage + "?next=%2F")
	owner.post("/account/sessions/end-others").to("/account#sessions")
	asked("signing out everywhere else")
	trust()
	_, _ = owner.setsUpApp(clock)
	mine = app{t, clock, mine.secret}
	asked("setting up the app again")
}

// If an account has a passkey, a password alone does not re-authenticate. With a recovery code it does.
func TestPasswordBesideAPasskey(t *testing.T) {
	t.Parallel()
	s, _ := newCodeSite(t, options{})
	owner := signedUp(t, s, "ada@example.org")
	d := newDevice(s)
	codes := owner.post(addPasskey, "answer", d.makes(t, owner.options(addPasskey))).recoveryCodes()
	owner.get("/account/delete").want(200, "h1", "Delete") // the passkey has just been proven
	intruder := newBrowser(t, s)
	intruder.post("/login", "email", "ada@example.org", "password", password).to("/")
	for _, path := range []string{"/account/email", "/account/delete", addPasskey, appPage, "/account/recovery-codes"} {
		intruder.get(path).to(confirming(path))
		if a := intruder.post(path); !strings.HasPrefix(a.header.Get("Location"), "/account/confirm?") {
			t.Errorf("POST %s is answered %d", path, a.status)
		}
	}
	intruder.post("/account/confirm", "password", password, "next", "/account/delete").
		to(codePage + "?next=%2Faccount%2Fdelete")
	intruder.get(codePage).want(200, "h1", "Enter a recovery code")
	intruder.post(codePage, "code", "123456", "next", "/account/delete").want(422, "#code-error", "isn’t right")
	intruder.get("/account/delete").to(confirming("/account/delete"))
	lost := newBrowser(t, s) // the owner, without the phone
	lost.post("/login", "email", "ada@example.org", "password", password).to("/")
	remove := "/account/passkeys/1/remove"
	owner.get(remove).want(200, ".losses", "Your recovery codes stop working")
	next := lost.asked(remove)
	lost.post("/account/confirm", "password", password, "next", next)
	lost.post(codePage, "code", codes[0], "next", next).to("/account#methods")
	lost.get("/account").want(200, "#methods #notice", "was removed")
	if n := count(t, s, `SELECT count(*) FROM cairn.recovery_codes`); n != 0 {
		t.Errorf("%d recovery codes are left without a second factor", n)
	}
}

// A sign-in that waits for a code ends when its first factor does, and after ten minutes.
func TestPendingSignInEnds(t *testing.T) {
	t.Parallel()
	s, clock := newCodeSite(t, options{})
	owner := signedUp(t, s, "ada@example.org")
	mine, answer := owner.setsUpApp(clock)
	answer.recoveryCodes()
	newBrowser(t, s).get(codePage).to("/login?notice=code-late")
	newBrowser(t, s).post(codePage, "code", mine.code()).to("/login?notice=code-late")
	other := newBrowser(t, s)
	other.provesPassword("ada@example.org")
	owner.post("/account/password", "current", password, "password", newPassword).to("/account#h-password")
	other.post(codePage, "code", mine.code()).to("/login?notice=code-late")
	other.get("/login?notice=code-late").want(200, "#notice", "Please start again")
	if other.signedIn() {
		t.Error("an old password signs in")
	}
	other.post("/login", "email", "ada@example.org", "password", newPassword).to(codePage + "?next=%2F")
	if _, err := s.pool.Exec(t.Context(), `DELETE FROM cairn.users`); err != nil {
		t.Fatal(err)
	}
	other.get(codePage).to("/login?notice=code-late")
}

// Wrong codes are limited for each account, and the owner is told. A known browser of theirs has a limit of its own.
func TestWrongCodes(t *testing.T) {
	t.Parallel()
	server := testkit.NewMailServer(t)
	limits := untiring()
	limits.CodeNetwork.Max = 1000
	s, clock := newCodeSite(t, options{mail: server, works: true, limits: limits})
	owner := joined(t, s, server, "ada@example.org")
	mine, answer := owner.setsUpApp(clock)
	answer.recoveryCodes()
	intruder := newBrowser(t, s)
	intruder.provesPassword("ada@example.org")
	for range limits.CodeAccount.Max {
		intruder.post(codePage, "code", mine.wrong()).want(422, "#code-error", "isn’t right")
	}
	intruder.post(codePage, "code", mine.code()).want(429, "#form-error", "Too many attempts")
	if n := server.WaitFor(t, "ada@example.org", "Wrong codes were entered"); n.Link() == "" {
		t.Error("the message leads nowhere")
	}
	owner.get("/account").want(200, "#activity", "Wrong codes were entered several times")
	owner.post("/logout")
	owner.provesPassword("ada@example.org")
	owner.post(codePage, "code", mine.code()).to("/")
}

// A link for a new password does not get around the second factor.
func TestResetLeavesTheSecondFactor(t *testing.T) {
	t.Parallel()
	server := testkit.NewMailServer(t)
	s, clock := newCodeSite(t, options{mail: server, works: true})
	owner := joined(t, s, server, "ada@example.org")
	mine, shown := owner.setsUpApp(clock)
	codes := shown.recoveryCodes()
	reset := func(b browser) answer {
		t.Helper()
		before := len(server.Messages())
		b.post("/forgot", "email", "ada@example.org")
		var link string
		testkit.Eventually(t, "a link comes", func() bool {
			for _, m := range server.Messages()[before:] {
				if m.Subject() == "Choose a new password" {
					link = m.Link()
				}
			}
			return link != ""
		})
		return b.follow(link)
	}
	b := newBrowser(t, s)
	page := reset(b)
	if page.Find("#code").Length() != 0 {
		t.Error("the page asks for a code, though sign-in does, too")
	}
	b.press(page, "password", newPassword).to("/login?notice=password-reset")
	b.post("/login", "email", "ada@example.org", "password", newPassword).to(codePage + "?next=%2F")
	b.post(codePage, "code", mine.code()).to("/")
	// Without a password, the link alone must not add one.
	b.connect("strava", "ada")
	b.post("/account/password/remove").to("/account#methods")
	page = reset(b).want(200, "label[for=code]", "Recovery code")
	b.press(page, "password", newPassword).want(422, "#code-error", "isn’t right")
	b.press(page, "password", newPassword, "code", codes[0]).to("/login?notice=password-reset")
	if n := count(t, s, `SELECT count(*) FROM cairn.recovery_codes`); n != 9 {
		t.Errorf("%d codes are left", n)
	}
}

// Nor is it one where the address was never confirmed, as it is from before there was mail. With a code, all stays.
func TestResetHandsOverNoApp(t *testing.T) {
	t.Parallel()
	plain, clock := newCodeSite(t, options{})
	owner := signedUp(t, plain, "ada@example.org")
	mine, shown := owner.setsUpApp(clock)
	shown.recoveryCodes()
	server := testkit.NewMailServer(t)
	s := newSiteWith(t, options{
		pool: plain.pool, mail: server, works: true, clock: clock.offset, contact: "help@example.org",
	})
	b := newBrowser(t, s)
	b.post("/forgot", "email", "ada@example.org").to("/check-your-mail?for=reset")
	page := b.follow(server.WaitFor(t, "ada@example.org", "Choose a new password").Link())
	page.want(200, "#code-hint", "Ask the operator of this site: help@example.org")
	b.press(page, "password", newPassword).want(422, "#code-error", "isn’t right")
	b.press(page, "password", newPassword, "code", mine.code()).to("/login?notice=password-reset")
	b.post("/login", "email", "ada@example.org", "password", newPassword).to(codePage + "?next=%2F")
	b.post(codePage, "code", mine.code()).to("/")
	b.get("/account").want(200, "#email", "Confirmed").want(200, "#two-step", "10 left")
}

// An intruder who knows the password, adds an app and changes the address loses all of that when the owner undoes the
// change.
func TestUndoRemovesAnIntrudersApp(t *testing.T) {
	t.Parallel()
	server := testkit.NewMailServer(t)
	s, clock := newCodeSite(t, options{mail: server, works: true})
	intruder := joined(t, s, server, "ada@example.org") // knows the password
	_, answer := intruder.setsUpApp(clock)
	answer.recoveryCodes()
	intruder.post("/account/email", "email", "eve@example.org").to("/check-your-mail?for=change")
	intruder.press(intruder.follow(server.WaitFor(t, "eve@example.org", "Confirm your new e-mail").Link()))
	owner := newBrowser(t, s)
	owner.press(owner.follow(server.WaitFor(t, "ada@example.org", "e-mail address was changed").Link()))
	if n := count(t, s, `SELECT count(*) FROM cairn.second_factors`); n != 0 {
		t.Error("the intruder's app is still there")
	}
	page := owner.follow(server.WaitFor(t, "ada@example.org", "Choose a new password").Link())
	owner.press(page, "password", newPassword).to("/login?notice=password-reset")
	owner.post("/login", "email", "ada@example.org", "password", newPassword).to("/")
}

// Sign-ins that can't show a code are refused for an account that asks for one: private links, and the old front end.
func TestSignInsWithoutACodeAreRefused(t *testing.T) {
	t.Parallel()
	clock := &appClock{}
	s := fronted(t, func(o *options) { o.clock = clock.offset })
	owner := newBrowser(t, s)
	owner.visit("foursquare", "ada").to("/")
	userID := count(t, s, `SELECT max(id)::int FROM cairn.users`)
	token := giveLink(t, s, 7, userID)
	_, answer := owner.setsUpApp(clock)
	answer.recoveryCodes()
	newBrowser(t, s).get("/?token=" + token).to("/link")
	if n := count(t, s, `SELECT count(*) FROM cairn.node_users WHERE link_hash = $1`, sum(token)); n != 0 {
		t.Error("the private link is still good")
	}
	exec(t, s, `INSERT INTO cairn.node_links VALUES ($1, $2, now() + interval '1 minute')`,
		sum("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), userID)
	b := newBrowser(t, s)
	b.get("/link?token=ABCDEFGHIJKLMNOPQRSTUVWXYZ").to("/link")
	b.post("/link", "about", about("ABCDEFGHIJKLMNOPQRSTUVWXYZ")).want(403, "h1", "asks for a code")
	b.get(b.decide(b.toFoursquare(t), "ada", "allow")).to("/login?notice=needs-code-foursquare")
	b.get("/login?notice=needs-code-foursquare").want(200, "#notice", "Sign in here instead")
	links := count(t, s, `SELECT count(*) FROM cairn.node_users WHERE user_id = $1 AND node_id < 0`, userID)
	if b.signedIn() || links > 0 {
		t.Error("somebody got in without a code")
	}
}

// The Node server asks for no code, so a session that it begins signs nobody in here to an account that asks for one.
// Before there is an app it does.
func TestNodeSessionsWithoutACodeAreRefused(t *testing.T) {
	t.Parallel()
	s := withWayBack(t)
	owner, _ := s.atBoth(t, 7)
	if !s.atExpress(t, 7).signedIn() {
		t.Fatal("a session of the Node server does not sign in")
	}
	_, shown := owner.setsUpApp(&appClock{})
	shown.recoveryCodes()
	b := s.atExpress(t, 7)
	b.there(s, "/me", http.StatusOK)
	if b.signedIn() {
		t.Error("somebody got in without a code")
	}
	b.post("/login", "email", "ada7@example.org", "password", password).to(codePage + "?next=%2F")
}

// Each code is good once, however many use it at once on two servers.
func TestRaceCodeIsGoodOnce(t *testing.T) {
	t.Parallel()
	clock := &appClock{}
	one := newSiteWith(t, options{clock: clock.offset})
	sites := [2]site{one, newSiteWith(t, options{pool: one.pool, clock: clock.offset})}
	for round := range testkit.Rounds(t) {
		unlimited(t, one)
		email := fmt.Sprintf("ada%d@example.org", round)
		mine, answer := signedUp(t, one, email).setsUpApp(clock)
		codes := answer.recoveryCodes()
		for _, code := range []string{mine.code(), codes[0]} {
			before := count(t, one, `SELECT count(*) FROM cairn.sessions`)
			var all []func()
			for i := range 6 {
				b := newBrowser(t, sites[i%2])
				b.provesPassword(email)
				all = append(all, func() { b.post(codePage, "code", code) })
			}
			together(all...)
			if n := count(t, one, `SELECT count(*) FROM cairn.sessions`) - before; n != 1 {
				t.Fatalf("round %d: %s signed in %d times, want 1", round, code, n)
			}
		}
	}
}

// A sign-in with a code that overlaps with a change of the password leaves no session.
func TestRacePasswordChangeEvictsPendingSignIns(t *testing.T) {
	t.Parallel()
	clock := &appClock{}
	one := newSiteWith(t, options{clock: clock.offset})
	sites := [2]site{one, newSiteWith(t, options{pool: one.pool, clock: clock.offset})}
	for round := range testkit.Rounds(t) {
		unlimited(t, one)
		email := fmt.Sprintf("ada%d@example.org", round)
		owner := signedUp(t, one, email)
		_, answer := owner.setsUpApp(clock)
		codes := answer.recoveryCodes()
		all := []func(){func() {
			owner.post("/account/password", "current", password, "password", newPassword)
		}}
		for i := range 4 {
			b := newBrowser(t, sites[i%2])
			b.provesPassword(email)
			all = append(all, func() { b.post(codePage, "code", codes[i]) })
		}
		together(all...)
		user := `(SELECT user_id FROM cairn.emails WHERE email = $1)`
		if n := count(t, one, `SELECT count(*) FROM cairn.sessions WHERE user_id = `+user, email); n != 1 {
			t.Fatalf("round %d: %d sessions, want the owner's", round, n)
		}
	}
}
