package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"cairn/internal/sandbox"
	"cairn/internal/testkit"
)

// axe-core finds no violation on the account page of somebody who has connected everything, and behind it.
func TestAccountAccessibleInChromium(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	a := newAuditor(t)
	unchecked := a
	unchecked.axe = ""
	unchecked.member()
	unchecked.connections()
	testkit.NewBrowser(t).SignUp(a.site, "taken@example.org")
	a.account()
	a.losses()
	a.imported()
	a.fromNode()
	a.errors()
	a.leaving()
}

func (a auditor) account() {
	testkit.NewBrowser(a.t).SignIn(a.site, "ada@example.org")
	a.see("mailed-reject", "/check-your-mail?for=reject", `main a[href$="/sandbox/mail"]`)
	a.openMail("ada@example.org", "in a new browser", `form[action="/not-me"] button`)
	a.audit("reject")
	a.undo()
	a.execute(`UPDATE cairn.emails SET verified_at = NULL`)
	a.see("account-unverified", "/account", `form[action="/account/email/send"]`)
	a.execute(`UPDATE cairn.emails SET verified_at = now(), refused_at = now()`)
	a.see("account-refused", "/account", "#email .state")
	a.wantTrue("the page says so", `document.querySelector("#email").textContent.includes("refused our last message")`)
	a.execute(`UPDATE cairn.emails SET refused_at = NULL`)
	a.see("account", "/account", `form[action="/account/password"] #current`)
	a.submit("/account/password", "#current-error", "current", "wrong", "password", testkit.Password)
	a.audit("account-password-error")
	a.open("/account", "#name")
	a.submit("/account/name", "#name-error", "name", " ")
	a.audit("account-name-error")
	a.open("/account", "#name")
	a.submit("/account/name", "#notice", "name", "Ada")
	a.audit("account-saved")
	a.leave()
	a.open("/account", "#data")
	a.submit("/account/data", `form[action="/account/confirm"]`)
	a.audit("confirm-download")
	a.submit("/account/confirm", "#data #notice", "password", testkit.Password)
	a.audit("account-confirmed-download")
	a.leave()
	a.open("/account/password/remove", "form .risk")
	a.submit("/account/password/remove", `form[action="/account/confirm"]`)
	a.audit("confirm-remove")
	a.see("confirm", "/account/delete", `form[action="/account/confirm"]`)
	a.submit("/account/confirm", "#password-error", "password", "wrong")
	a.audit("confirm-error")
}

// undo shows an earlier address that can undo the change to the present one.
func (a auditor) undo() {
	a.execute(`
		INSERT INTO cairn.links (purpose, user_id, email, email_key, nonce, token_hash, sent_at, expires_at, id)
			OVERRIDING SYSTEM VALUE
		SELECT 'undo', user_id, 'old@example.org', 'old@example.org', '\x00112233445566778899aabbccddeeff', sha256('x'),
		       now(), now() + interval '7 days', 1000000
		FROM cairn.emails WHERE email = 'ada@example.org'`)
	a.see("account-undo", "/account", ".undo")
	a.see("end-undo", "/account/email/undo/1000000/end", "form .risk")
	a.execute(`DELETE FROM cairn.links WHERE id = 1000000`)
}

func (a auditor) losses() {
	a.open("/account", "#sessions")
	links, err := chromedp.Run(a.ctx, chromedp.Evaluate[[]string](
		`[...document.querySelectorAll("main a.bad")].map((a) => a.getAttribute("href"))`))
	if err != nil || len(links) != 7 { // the password, three providers, a session, all sessions, the account
		a.t.Fatalf("%d links to losses (error %v): %v", len(links), err, links)
	}
	for _, link := range links {
		if link != "/account/delete" {
			a.see("loss"+strings.ReplaceAll(link, "/", "-"), link, `form[action="`+link+`"]`)
		}
	}
	a.open("/account/sessions/end-others", "form .risk")
	a.submit("/account/sessions/end-others", "#sessions #notice")
	a.audit("account-others-ended")
}

// imported shows what an import can't prove: a Strava account that does not sign in yet, and an unknown one at Garmin.
func (a auditor) imported() {
	a.execute(`UPDATE cairn.identities SET signs_in = false WHERE provider = 'strava'`,
		`UPDATE cairn.identities SET signs_in = false, subject = '?7' WHERE provider = 'garmin'`, `
		INSERT INTO cairn.connections
			(identity_id, user_id, provider, subject, state, cause, sealed_tokens, generation)
		SELECT id, user_id, provider, subject, 'needs_reconnect', 'account_unknown', '', 1
		FROM cairn.identities WHERE provider = 'garmin'`)
	a.see("connections-account-unknown", "/connections", "li#card-garmin[data-state=needs_reconnect]")
	a.see("home-account-unknown", "/", "#days")
	a.see("account-unconfirmed", "/account", `#methods a[href$="/allow"]`)
	a.run("ask to allow Strava", click(`#methods a[href$="/allow"]`), visible(`form[action$="/allow"] button`))
	a.audit("allow")
	a.run("allow it", click(`form[action$="/allow"] button`), visible(`form[action="/account/confirm"]`))
	a.audit("confirm-allow")
	a.submit("/account/confirm", "#methods #notice", "password", testkit.Password)
	a.audit("account-allowed")
}

func (a auditor) errors() {
	a.see("error-404", "/nowhere", "#reference")
	a.turn(a.site, "strava", sandbox.API, "500")
	a.execute(`DELETE FROM cairn.rate_limits`)
	a.open("/connections", "li#card-strava")
	a.submit("/connections/strava/check", "#reference")
	a.audit("error-502")
	a.open("/connections", "li#card-strava")
	a.submit("/connections/strava/check", "#reference")
	a.audit("error-429")
	a.turn(a.site, "strava", sandbox.API, sandbox.ModeNone)
	a.see("home-failure", "/api/strava/auth/callback?state=x&code=y", "#notice.bad")
	form := `<form method="post" action="` + a.site + `/account/name"><button>x</button></form>`
	a.run("come from another site", chromedp.Navigate("data:text/html,"+url.PathEscape(form)),
		click("button"), visible("#reference"))
	a.audit("error-403")
	shut(a.t, a.database, func() { a.see("error-503", "/account", "#reference") })
}

// leaving shows being signed out from elsewhere, signing in again, and deleting the account.
func (a auditor) leaving() {
	other := testkit.NewBrowser(a.t)
	other.SignIn(a.site, "ada@example.org")
	other.Send(http.MethodPost, a.site+"/account/sessions/end-others", url.Values{})
	a.see("login-ended", "/", "#notice")
	a.submit("/login/strava", "input[name=person]")
	a.allow("moss", "#days")
	a.see("account-without-password", "/account", "#h-password")
	a.leave()
	a.see("confirm-provider", "/account/delete", `form[action="/login/strava"]`)
	a.submit("/login/strava", "input[name=person]")
	a.allow("moss", `form[action="/account/delete"]`)
	a.audit("delete")
	a.submit("/account/delete", `main a.button[href="/"]`)
	a.audit("deleted")
}

// shut calls do while the database accepts no connections.
func shut(t *testing.T, address string, do func()) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/")
	u.Path = "/postgres"
	allow := func(connections bool) {
		testkit.Execute(t, u.String(), fmt.Sprintf(`ALTER DATABASE %q WITH ALLOW_CONNECTIONS %t`, name, connections))
	}
	allow(false)
	testkit.Execute(t, u.String(),
		fmt.Sprintf(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '%s'`, name))
	do()
	allow(true)
}
