package main

import (
	"encoding/json"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

// pressed is the button of a form for a passkey once its script is there.
const pressed = `form.passkey[data-ready] button`

// authenticator is a device of Chromium's that has passkeys, and whose owner is always there.
type authenticator struct {
	auditor
	id webauthn.AuthenticatorID
}

func (a auditor) newAuthenticator() authenticator {
	a.t.Helper()
	a.run("start", chromedp.Navigate("about:blank"))
	if _, err := chromedp.Call(a.ctx, webauthn.Enable, webauthn.EnableParams{}); err != nil {
		a.t.Fatal(err)
	}
	made, err := chromedp.Call(a.ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{
		Options: &webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
			HasResidentKey: true, HasUserVerification: true, IsUserVerified: true,
			AutomaticPresenceSimulation: true,
		}})
	if err != nil {
		a.t.Fatal(err)
	}
	return authenticator{a, made.AuthenticatorID}
}

// withoutAutofill makes new pages believe that the browser can't offer passkeys in a field: the virtual authenticator
// would answer that at once, before the button is pressed.
func (a authenticator) withoutAutofill() {
	a.t.Helper()
	_, err := chromedp.Call(a.ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
		Source: `if (self.PublicKeyCredential)
			PublicKeyCredential.isConditionalMediationAvailable = async () => false;`,
	})
	if err != nil {
		a.t.Fatal(err)
	}
}

// verifies says whether the authenticator verifies its owner, and whether it only claims that it doesn't.
func (a authenticator) verifies(yes, claimsNot bool) {
	a.t.Helper()
	_, err := chromedp.Call(a.ctx, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{
		AuthenticatorID: a.id, IsUserVerified: yes})
	if err == nil {
		_, err = chromedp.Call(a.ctx, webauthn.SetResponseOverrideBits, webauthn.SetResponseOverrideBitsParams{
			AuthenticatorID: a.id, IsBadUV: &claimsNot})
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

// has returns the passkeys in the authenticator.
func (a authenticator) has() []*webauthn.Credential {
	a.t.Helper()
	has, err := chromedp.Call(a.ctx, webauthn.GetCredentials, webauthn.GetCredentialsParams{AuthenticatorID: a.id})
	if err != nil {
		a.t.Fatal(err)
	}
	return has.Credentials
}

// forgets waits until a page has told the authenticator that no passkey works here, and it has none any more.
func (a authenticator) forgets(what string) {
	a.t.Helper()
	testkit.Eventually(a.t, what, func() bool { return len(a.has()) == 0 })
}

func (a authenticator) signOut() {
	a.t.Helper()
	a.run("sign out", chromedp.Navigate(a.site+"/account"), click(`form[action="/logout"] button`),
		visible(`main a[href="/signup"]`))
}

// press presses the button of the sign-in page and waits for an element.
func (a authenticator) press(step, selector string) {
	a.t.Helper()
	a.run(step, chromedp.Navigate(a.site+"/login?next=/account"), click(pressed), visible(selector))
}

// evaluate returns the string to which a script's promise resolves.
func (a authenticator) evaluate(script string) string {
	a.t.Helper()
	said, err := chromedp.Run(a.ctx, chromedp.Evaluate[string](script, chromedp.EvalAwaitPromise))
	if err != nil {
		a.t.Fatal(err)
	}
	return said
}

// options are those that a page of the site gets for a sign-in.
func (a authenticator) options() string {
	a.t.Helper()
	a.open("/login?next=/account", pressed)
	return a.evaluate(`fetch("/login/passkey/options", {method: "POST"}).then((r) => r.text())`)
}

// answer is what the authenticator answers to options, on the current page.
func (a authenticator) answer(options string) string {
	a.t.Helper()
	return a.evaluate(`navigator.credentials.get({publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(` +
		options + `)}).then((c) => JSON.stringify(c))`)
}

// enter sends an answer with the form of the sign-in page, and waits for an element.
func (a authenticator) enter(answer, selector string) {
	a.t.Helper()
	a.open("/login?next=/account", pressed)
	quoted, err := json.Marshal(answer)
	if err != nil {
		a.t.Fatal(err)
	}
	a.run("send the answer", chromedp.Evaluate[chromedp.Void](`(() => {
		const form = document.querySelector("form.passkey");
		form.elements.answer.value = `+string(quoted)+`;
		form.submit();
	})()`), visible(selector))
}

// Passkeys in a real browser, under the real Content-Security-Policy. axe-core finds no violation on their pages.
func TestPasskeysInChromium(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	database := dbtest.NewPatientURL(t)
	site := start(t, "PORT="+testkit.FreePort(t), "DATABASE_URL="+database).url
	testkit.NewBrowser(t).SignUp(site, "ada@example.org")
	a := auditor{newChromium(t), site, database, readAxe(t)}.newAuthenticator()

	a.run("open", chromedp.Navigate(site+"/login"), visible(`form.passkey button`))
	a.audit("login-passkey")
	a.run("sign in", chromedp.SendKeys(`#email`, "ada@example.org"), chromedp.SendKeys(`#password`, testkit.Password),
		click(`form[action="/login"] button`), visible(`main a[href="/account/passkeys/new"]`))
	a.audit("home-offer")
	a.run("be offered a passkey", click(`main a[href="/account/passkeys/new"]`), visible(`form.passkey button`))
	a.audit("passkey-new")
	a.run("add it", click(pressed), visible(`ol.codes`))
	a.audit("recovery-codes")
	a.run("save the codes", click(`main a[href="/account#two-step"]`), visible(`#two-step a[href="/account/app"]`))
	a.audit("account-passkey")
	a.run("want to rename it", click(`#methods a[href$="/rename"]`), visible(`#name`))
	a.audit("passkey-rename")
	a.submit("/account/passkeys/1/rename", `#name-error`, "name", " ")
	a.audit("passkey-rename-error")
	a.submit("/account/passkeys/1/rename", `#methods #notice`, "name", "Blue key")
	a.run("try to add it again", chromedp.Navigate(site+"/account/passkeys/new"), click(pressed),
		visible(`form.passkey .wrong`))
	a.audit("passkey-there")

	a.signOut()
	a.run("sign in by the e-mail field", chromedp.Navigate(site+"/login?next=/account"), visible(`#methods`))
	a.signOut()
	a.withoutAutofill()
	a.press("sign in by the button", `#methods`)
	a.signOut()

	first, second := a.options(), a.options() // in two tabs
	a.enter(a.answer(first), `#methods`)
	a.signOut()
	a.open("/login", pressed)
	answered := a.answer(second)
	a.enter(answered, `#methods`)
	a.signOut()
	a.enter(answered, `#form-error`) // an answer works once

	asked := a.options()
	elsewhere := start(t, "PORT="+testkit.FreePort(t), "DATABASE_URL="+dbtest.NewPatientURL(t)).url
	a.run("be at another site on the same host", chromedp.Navigate(elsewhere+"/login"), visible(pressed))
	a.enter(a.answer(asked), `#form-error`)

	a.verifies(false, false)
	a.press("let the device fail to verify its owner", `form.passkey .wrong`)
	a.verifies(true, true)
	a.press("let the device say that it verified nobody", `#form-error`)
	a.audit("login-passkey-refused")
	a.verifies(true, false)

	testkit.Execute(t, database, `UPDATE cairn.passkeys SET counter = 99`)
	a.press("use it with a counter that went back", `#activity`)
	a.wantTrue("the owner is told", `document.querySelector("#activity").textContent.includes("may have been copied")`)
	a.audit("account-passkey-copied")

	testkit.Execute(t, database, `UPDATE cairn.sessions SET created = created - interval '11 minutes'`)
	a.run("want to remove it", chromedp.Navigate(site+"/account"), click(`#methods a[href*="/passkeys/"].bad`),
		visible(`form[action$="/remove"] button`))
	a.audit("passkey-remove")
	a.run("be asked", click(`form[action$="/remove"] button`), visible(`form.passkey button`))
	a.audit("confirm-passkey")
	a.run("confirm with it", click(pressed), visible(`#methods #notice`))
	a.forgets("the authenticator forgets what was removed")

	a.signOut()
	a.run("add another", chromedp.Navigate(site+"/login?next=/account/passkeys/new"),
		chromedp.SendKeys(`#email`, "ada@example.org"), chromedp.SendKeys(`#password`, testkit.Password),
		click(`form[action="/login"] button`), click(`form[action$="/new"][data-ready] button`),
		visible(`main a[href="/account#two-step"]`))
	testkit.Execute(t, database, `UPDATE cairn.emails SET email = 'Ada@example.org'`)
	a.run("have another e-mail", chromedp.Navigate(site+"/account"), visible(`#methods`))
	testkit.Eventually(t, "the authenticator knows the new e-mail", func() bool {
		has := a.has()
		return len(has) == 1 && has[0].UserName == "Ada@example.org"
	})
	a.signOut()
	testkit.Execute(t, database, `DELETE FROM cairn.passkeys`)
	a.press("use one that nobody has", `#form-error`)
	a.forgets("the authenticator forgets what nobody has")
	a.wantNoComplaints()
}
