package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"cairn/db/dbtest"
	"cairn/internal/auth"
	"cairn/internal/sandbox"
	"cairn/internal/testkit"
)

// axe-core finds no violation on any page in any state: here, those up to the connections. It checks what people who
// use a screen reader or no mouse need of a page, as far as a program can check that.
func TestAccessibleInChromium(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	a := newAuditor(t)
	a.visitors()
	a.member()
	a.forgot()
	a.connections()
}

func newAuditor(t *testing.T) auditor {
	t.Helper()
	database := dbtest.NewPatientURL(t)
	strict := patient()
	strict.Rates = auth.Limits{} // the usual ones, because one of the pages is about a limit
	// A call that hangs does so until the end of the test.
	strict.Calls.Call, strict.Jobs.Job, strict.Jobs.Rescue = time.Hour, time.Hour, time.Hour
	strict.Jobs.Stop = time.Millisecond
	return auditor{chromium: newChromium(t),
		site: start(t, append(nodeWindow(), "PORT="+testkit.FreePort(t), "DATABASE_URL="+database,
			limited(strict))...).url,
		database: database, axe: readAxe(t)}
}

// auditor shows pages in all their states to axe-core.
type auditor struct {
	chromium
	site, database string
	axe            string // the script; "": pages are not checked
}

func readAxe(t *testing.T) string {
	t.Helper()
	script, err := os.ReadFile("testdata/axe/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatalf("the browser tests need axe-core: make test installs it (%v)", err)
	}
	return string(script)
}

// runAxe checks WCAG 2.2 AA and what axe-core calls best practice. Dark pages differ from light ones in
// colours only (TestDarkIsColoursOnly in package web).
const runAxe = `axe.run(document, {resultTypes: ["violations"],
		runOnly: matchMedia("(prefers-color-scheme: dark)").matches
			? {type: "rule", values: ["color-contrast", "link-in-text-block"]}
			: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})
	.then(({violations}) => violations.map((v) =>
		v.id + " (" + v.impact + "): " + v.nodes.map((n) => n.target.join(" ")).join(", ")))`

// audit checks the current page, on a phone and a desktop, light and dark.
func (a auditor) audit(state string) {
	a.t.Helper()
	if a.axe == "" {
		return
	}
	a.capture("axe-" + state)
	if err := chromedp.Do(a.ctx, chromedp.Evaluate[chromedp.Void](a.axe)); err != nil {
		a.t.Fatal(err)
	}
	for _, width := range []int64{390, 1280} {
		for _, scheme := range []string{"light", "dark"} {
			media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
				{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}}
			_, err := chromedp.Call(a.ctx, emulation.SetEmulatedMedia, media)
			err = errors.Join(err, chromedp.Do(a.ctx, chromedp.EmulateViewport(width, 844)))
			violations, evalErr := chromedp.Run(a.ctx, chromedp.Evaluate[[]string](runAxe, chromedp.EvalAwaitPromise))
			if err = errors.Join(err, evalErr); err != nil {
				a.t.Fatalf("%s: %v", state, err)
			}
			for _, violation := range violations {
				a.t.Errorf("%s, %d pixels wide, %s: %s", state, width, scheme, violation)
			}
		}
	}
}

// see goes to a page of the site, waits for an element and checks the page.
func (a auditor) see(state, path string, selector string) {
	a.t.Helper()
	a.open(path, selector)
	a.audit(state)
}

func (a auditor) open(path string, selector string) {
	a.t.Helper()
	a.run("open "+path, chromedp.Navigate(a.site+path), visible(selector))
}

// submit sends the form of an address with these fields, without the browser's own checks, and waits for an element.
func (a auditor) submit(action string, selector string, fields ...string) {
	a.t.Helper()
	values, err := json.Marshal(fields)
	if err != nil {
		a.t.Fatal(err)
	}
	a.run("send "+action, chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`(() => {
		const form = document.querySelector('form[action="%s"]'), fields = %s ?? [];
		form.noValidate = true;
		for (let i = 0; i < fields.length; i += 2) form.elements[fields[i]].value = fields[i + 1];
		document.body.id = "sent";
		form.requestSubmit();
	})()`, action, values)), gone(`#sent`), visible(selector))
}

// allow allows everything on the current consent page.
func (a auditor) allow(person string, selector string) {
	a.t.Helper()
	a.run("allow", visible(`input[name=person]`), click(`input[name=person][value=`+person+`]`),
		click(`button[value=allow]`), visible(selector))
}

func (a auditor) execute(statements ...string) {
	a.t.Helper()
	testkit.Execute(a.t, a.database, statements...)
}

// leave makes the sign-in so old that the next change of sign-in methods needs another one.
func (a auditor) leave() {
	a.execute(`UPDATE cairn.sessions SET created = created - interval '11 minutes'`)
}

func (a auditor) visitors() {
	a.see("landing", "/", `main a[href="/signup"]`)
	a.see("landing-signed-out", "/?notice=signed-out", "#notice")
	a.see("login", "/login?notice=sign-in&next=/account", "#notice")
	a.see("login-failure", "/login?notice=no-answer-strava&reference=abcdefghijkl", "#notice.bad")
	a.submit("/login", "#form-error", "email", "nobody@example.org", "password", "not the one")
	a.audit("login-error")
	a.see("privacy", "/privacy", "main h2")
	a.see("signup", "/signup", "#email")
	a.submit("/signup", "#password-error", "email", "ada@example.org", "password", "short")
	a.audit("signup-error")
	testkit.NewBrowser(a.t).SignUp(a.site, "taken@example.org")
	a.submit("/signup", "#email-error", "email", "ada", "password", testkit.Password)
	a.audit("signup-error-email")
	a.see("forgot", "/forgot", "#email")
	a.submit("/forgot", "#email-error", "email", "ada")
	a.audit("forgot-error")
	a.submit("/forgot", `a[href$="/sandbox/mail"]`, "email", "nobody@example.org")
	a.audit("mailed")
	form := url.Values{"email": {"other@example.org"}, "password": {testkit.Password}}
	testkit.NewBrowser(a.t).Send(http.MethodPost, a.site+"/signup", form)
	a.openMail("other@example.org", "Confirm your e-mail", `form[action="/signup/confirm"] #password`)
	a.audit("signup-confirm-elsewhere")
	a.submit("/signup/confirm", "#password-error", "password", "wrong")
	a.audit("signup-confirm-error")
	a.see("error-404-visitor", "/nowhere", "#reference")
}

func (a auditor) member() {
	a.open("/signup", "#email")
	a.submit("/signup", `a[href$="/sandbox/mail"]`,
		"name", "Ada Lovelace", "email", "ada@example.org", "password", testkit.Password)
	a.openMail("ada@example.org", "Confirm your e-mail", `form[action="/signup/confirm"] button`)
	a.audit("signup-confirm")
	a.submit("/signup/confirm", "#card-strava[data-state=none]")
	a.audit("home-welcome")
	a.see("home-empty", "/", "#card-strava")
	a.see("connections-empty", "/connections", "li#card-strava")
	a.turn(a.site, "strava", sandbox.Data, sandbox.ModeHang)
	for _, provider := range []string{"strava", "garmin", "foursquare"} {
		a.open("/connections", "li#card-"+provider)
		a.submit("/connect/"+provider, `input[name=person]`)
		a.allow("ada", "#card-"+provider+"[data-state=active]")
		if provider == "strava" {
			a.audit("connections-fetching")
			for name, path := range map[string]string{"connections": "/connections", "home": "/"} {
				a.execute(`UPDATE cairn.sync_requests SET requested_at = now()`) // a fetch is shown for half a minute
				a.see(name+"-fetching-more", path+"?looks=6", ".more a")
			}
		}
	}
	a.turn(a.site, "strava", sandbox.Data, sandbox.ModeNone)
	a.run("wait for check-ins", chromedp.Navigate(a.site+"/"), visible(`[data-from~=foursquare]`))
	a.audit("home")
	// A few entries of each kind show as much from here on, and axe-core's time grows with the page.
	a.execute(`UPDATE cairn.latest SET entries = jsonb_path_query_array(entries, '$[0 to 4]')`,
		// They happened this week, however old the sandbox's are. Their time is UTC, and so is the person's.
		`UPDATE cairn.users SET time_zone = 'UTC'`,
		`UPDATE cairn.latest SET entries = (
			SELECT jsonb_agg(e || jsonb_build_object('at', now() - (n - 1) * interval '1 minute', 'offset', 0)
			                 ORDER BY n)
			FROM jsonb_array_elements(entries) WITH ORDINALITY AS all_entries (e, n))
			WHERE entries <> '[]'`)
	a.see("home-week", "/", ".week")
}

// connections shows the cards in all their states.
func (a auditor) connections() {
	a.open("/connections", "li#card-garmin")
	a.submit("/connections/garmin/check", "#card-garmin #notice")
	a.run("open the history", click("#card-garmin summary"))
	a.audit("connections-checked")
	for _, state := range []struct{ state, stored, cause string }{
		{"degraded", "trouble", "no_answer"}, {"suspended", "paused", "app_refused"},
		{"needs_reconnect", "needs_reconnect", "refresh_refused"},
	} {
		a.execute(fmt.Sprintf(`
			UPDATE cairn.connections SET state = '%[1]s', cause = '%[2]s',
			       retry_at = CASE WHEN '%[1]s' <> 'needs_reconnect' THEN now() + interval '1 hour' END`,
			state.stored, state.cause))
		a.see("connections-"+state.state, "/connections", "li#card-strava[data-state="+state.state+"]")
		a.see("home-"+state.state, "/", "#days")
	}
	a.execute(`UPDATE cairn.connections SET state = 'active', cause = 'works', retry_at = NULL`,
		`UPDATE cairn.connections SET granted = '{read}' WHERE provider = 'strava'`)
	a.see("connections-limited", "/connections", "li#card-strava[data-state=limited]")
	a.turn(a.site, "garmin", sandbox.Revoke, "500")
	a.see("disconnect-garmin", "/connections/garmin/disconnect", `form[action="/connections/garmin/disconnect"]`)
	a.submit("/connections/garmin/disconnect", "#card-garmin #notice")
	a.audit("connections-revoking")
	a.see("disconnect-foursquare", "/connections/foursquare/disconnect",
		`form[action="/connections/foursquare/disconnect"]`)
	a.submit("/connections/foursquare/disconnect", "#card-foursquare #notice a")
	a.audit("connections-disconnected")
}

// forgot shows a new password being chosen.
func (a auditor) forgot() {
	a.open("/forgot", "#email")
	a.submit("/forgot", `a[href$="/sandbox/mail"]`, "email", "ada@example.org")
	a.openMail("ada@example.org", "Choose a new password", `form[action="/reset"] button`)
	a.audit("reset")
	a.submit("/reset", "#password-error", "password", "short")
	a.audit("reset-error")
	a.see("email", "/account/email", "#email")
	a.submit("/account/email", "#email-error", "email", "ada")
	a.audit("email-error")
	a.submit("/account/email", `a[href$="/sandbox/mail"]`, "email", "new@example.org")
	a.openMail("new@example.org", "Confirm your new e-mail", `form[action="/account/email/confirm"] button`)
	a.audit("email-confirm")
	a.submit("/account/email/confirm", "#email #notice")
	a.audit("account-email-changed")
	a.open("/check-your-mail?for=undo", `a[href$="/sandbox/mail"]`)
	a.openMail("ada@example.org", "e-mail address was changed", `form[action="/undo"] button`)
	a.audit("undo")
	for _, table := range []string{"cairn.emails", "cairn.passwords"} {
		a.execute(`UPDATE ` + table + ` SET email = 'ada@example.org', email_key = 'ada@example.org'
			WHERE email_key = 'new@example.org'`)
	}
}
