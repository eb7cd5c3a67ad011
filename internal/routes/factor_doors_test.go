package routes_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
)

// Whatever people type as a code is a wrong one.
func TestOddCodesAreWrong(t *testing.T) {
	t.Parallel()
	s, clock := newCodeSite(t, options{})
	_, shown := signedUp(t, s, "ada@example.org").setsUpApp(clock)
	shown.recoveryCodes()
	b := newBrowser(t, s)
	b.provesPassword("ada@example.org")
	for _, code := range []string{"", "-", "+12345", "９９９９９９", "aaaéaaaaaaa", "abcdefghijk\u202e"} {
		b.post(codePage, "code", code).want(422, "#code-error", "isn’t right")
	}
}

// Somebody who reads the owner's mail says that the owner's sign-in with a passkey was somebody else's. That removes
// the passkey, but a new password still takes a recovery code.
func TestRejectSignInIsNoWayRoundTheSecondFactor(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	owner := joined(t, s, server, "ada@example.org")
	d := newDevice(s)
	codes := owner.post(addPasskey, "answer", d.makes(t, owner.options(addPasskey))).recoveryCodes()
	owner.post("/account/password/remove").to("/account#methods")
	newBrowser(t, s).entersWith(d).to("/account")
	link := server.WaitFor(t, "ada@example.org", "New sign-in with a passkey").Link()
	reader := newBrowser(t, s)
	page := reader.follow(link).want(200, ".losses", "a new password may take a code")
	reader.press(page).to("/check-your-mail?for=reject")
	reset := server.WaitFor(t, "ada@example.org", "Choose a new password").Link()
	page = reader.follow(reset).want(200, "label[for=code]", "Recovery code")
	reader.press(page, "password", newPassword).want(422, "#code-error", "isn’t right")
	lost := newBrowser(t, s) // the owner, whose passkey is gone
	lost.press(lost.follow(reset), "password", newPassword, "code", codes[0]).to("/login?notice=password-reset")
	lost.post("/login", "email", "ada@example.org", "password", newPassword).to("/")
	lost.get("/account").want(200, "#two-step", "9 left")
	lost.post("/account/confirm", "password", newPassword, "next", "/account").to(codePage + "?next=%2Faccount")
	lost.post(codePage, "code", codes[1], "next", "/account").to("/account")
	lost.post("/account/recovery-codes").recoveryCodes()
	lost.addsPasskey(newDevice(s))
}

// A change of address that was asked for with a password alone ends when its owner adds a passkey.
func TestPasskeyEndsAChangeOfAddress(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	owner := joined(t, s, server, "ada@example.org")
	intruder := newBrowser(t, s)
	intruder.post("/login", "email", "ada@example.org", "password", password).to("/")
	intruder.post("/account/email", "email", "thief@example.org").to("/check-your-mail?for=change")
	page := intruder.follow(server.WaitFor(t, "thief@example.org", "Confirm your new").Link())
	owner.addsPasskey(newDevice(s))
	intruder.press(page).to("/account")
	owner.get("/account").want(200, "#email", "ada@example.org")
}

// Browsers from before the app give somebody who knew the password no further tries. The one in which the app was set
// up, and those that have signed in since, have a limit of their own.
func TestBrowsersFromBeforeTheAppShareALimit(t *testing.T) {
	t.Parallel()
	limits := untiring()
	limits.CodeNetwork.Max = 1000
	s, clock := newCodeSite(t, options{limits: limits})
	owner := signedUp(t, s, "ada@example.org")
	before := newBrowser(t, s)
	before.post("/login", "email", "ada@example.org", "password", password).to("/")
	mine, shown := owner.setsUpApp(clock)
	shown.recoveryCodes()
	since := newBrowser(t, s)
	since.provesPassword("ada@example.org")
	since.post(codePage, "code", mine.code()).to("/")
	before.post("/logout")
	before.provesPassword("ada@example.org")
	for range limits.CodeAccount.Max {
		before.post(codePage, "code", mine.wrong()).want(422, "#code-error", "isn’t right")
	}
	other := newBrowser(t, s)
	other.provesPassword("ada@example.org")
	other.post(codePage, "code", mine.code()).want(429, "#form-error", "Too many attempts")
	for _, b := range []browser{owner, since} {
		b.post("/logout")
		b.provesPassword("ada@example.org")
		b.post(codePage, "code", mine.code()).to("/")
	}
}

// A provider's account that is on its way when an app is set up is not connected with a password alone.
func TestAppStopsWhatBeganWithOneFactor(t *testing.T) {
	t.Parallel()
	came, goOn := make(chan struct{}), make(chan struct{})
	s, clock := newCodeSite(t, options{heard: func(sandbox http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/token") {
				close(came)
				<-goOn
			}
			sandbox.ServeHTTP(w, r)
		})
	}})
	owner := signedUp(t, s, "ada@example.org")
	intruder := newBrowser(t, s)
	intruder.post("/login", "email", "ada@example.org", "password", password).to("/")
	back := intruder.decide(intruder.consent("/connect/strava"), "max", "allow")
	together(func() { intruder.get(back) }, func() {
		<-came
		_, shown := owner.setsUpApp(clock)
		close(goOn)
		shown.recoveryCodes()
	})
	if n := count(t, s, `SELECT count(*) FROM cairn.identities`); n != 0 {
		t.Error("a sign-in method was added with one factor")
	}
}

// People who make their first recovery codes for an older passkey are not asked to confirm again.
func TestFirstCodesForAnOlderPasskey(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	b.addsPasskey(newDevice(s))
	exec(t, s, `DELETE FROM cairn.second_factors`)
	exec(t, s, `UPDATE cairn.sessions SET two_factors = false`)
	b.get("/account").want(200, "#two-step", "None yet")
	b.post("/account/recovery-codes").recoveryCodes()
	b.get("/account/delete").want(200, "h1", "Delete")
}

// A request with one factor that waits while the owner sets up an app does not put another in its place, adds no
// passkey, and makes no recovery codes.
func TestNobodyReplacesAnAppThatHasJustCome(t *testing.T) {
	t.Parallel()
	for _, path := range []string{appPage, addPasskey, "/account/recovery-codes"} {
		s, clock := newCodeSite(t, options{})
		owner := signedUp(t, s, "ada@example.org")
		intruder := newBrowser(t, s)
		intruder.post("/login", "email", "ada@example.org", "password", password).to("/")
		d := newDevice(s)
		made := d.makes(t, intruder.options(addPasskey))
		release := holding(t, s, `SELECT FROM cairn.users FOR UPDATE`)
		together(
			func() { _, _ = owner.setsUpApp(clock) },
			func() {
				awaitWaiting(t, s, 1)
				if path == appPage {
					intruder.setsUpOther(clock).to(confirming(appPage))
				} else {
					intruder.post(path, "answer", made).to(confirming(path))
				}
			},
			func() {
				awaitWaiting(t, s, 2)
				release()
			},
		)
		intruder.get(appPage).to(confirming(appPage))
		if n := count(t, s, `SELECT count(*) FROM cairn.passkeys`); n != 0 {
			t.Errorf("%s: a passkey was added with one factor", path)
		}
	}
}

// setsUpOther is setsUpApp with the clock as it is.
func (b browser) setsUpOther(clock *appClock) answer {
	b.t.Helper()
	page := b.get(appPage).want(http.StatusOK, "h1", "Set up")
	secret := strings.ReplaceAll(page.Find("code.key").Text(), " ", "")
	code, err := totp.GenerateCode(secret, time.Now().Add(clock.offset()))
	if err != nil {
		b.t.Fatal(err)
	}
	return b.post(appPage, "secret", page.Find("input[name=secret]").AttrOr("value", ""), "code", code)
}

// If the tokens of a sign-in that needs a code can't be stored, the person reads that, and the operator, too.
func TestProviderBeforeACodeStoresItsTokens(t *testing.T) {
	t.Parallel()
	s, clock := newCodeSite(t, options{})
	owner := newBrowser(t, s)
	owner.visit("strava", "ada").to("/")
	_, shown := owner.setsUpApp(clock)
	shown.recoveryCodes()
	exec(t, s, `CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''full''; END'`)
	exec(t, s, `CREATE CONSTRAINT TRIGGER fail AFTER INSERT OR UPDATE ON cairn.connections
	            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()`)
	newBrowser(t, s).visit("strava", "ada").want(500, "h1", "Something went wrong")
}

// A browser that was trusted when the account had no password takes a code after that.
func TestNewPasswordEndsTrust(t *testing.T) {
	t.Parallel()
	s, clock := newCodeSite(t, options{})
	owner := newBrowser(t, s)
	owner.visit("strava", "ada").to("/")
	mine, shown := owner.setsUpApp(clock)
	shown.recoveryCodes()
	b := newBrowser(t, s)
	b.visit("strava", "ada").to(codePage + "?next=%2F")
	b.post(codePage, "code", mine.code(), "trust", "on").to("/")
	b.post("/logout")
	b.visit("strava", "ada").to("/")
	owner.post("/account/password", "email", "ada@example.org", "password", password).to("/account#h-password")
	b.post("/logout")
	b.visit("strava", "ada").to(codePage + "?next=%2F")
}

// The page for a code leads people on who have entered it, and a passkey instead keeps them signed in as they wanted.
func TestPageForACode(t *testing.T) {
	t.Parallel()
	s, clock := newCodeSite(t, options{})
	owner, d := signedUp(t, s, "ada@example.org"), newDevice(s)
	owner.addsPasskey(d)
	mine, _ := owner.setsUpApp(clock)
	b := newBrowser(t, s)
	for keep, kept := range map[string]int{"on": 1, "": 0} {
		b.post("/logout")
		b.post("/login", "email", "ada@example.org", "password", password, "keep", keep).to(codePage + "?next=%2F")
		page := b.get(codePage).want(200, "form.passkey", "Use a passkey instead")
		field := page.Find("form.passkey input[name=keep]")
		if field.Length() != kept {
			t.Errorf("with keep=%q, %d fields keep the session", keep, field.Length())
		}
	}
	b.post(codePage, "code", mine.code(), "next", "/account").to("/account")
	b.get(codePage + "?next=%2Faccount").to("/account")
	if said := b.get("/account").Find("#notice").Text(); said != "" {
		t.Errorf("after going back, the page says %q", said)
	}
}
