package main

import (
	"testing"

	"github.com/chromedp/chromedp"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

// People keep their account after a forgotten password, a lost phone and a stolen address. All they need is the
// messages in the sandbox's mailbox.
func TestLifeOfAnAccountInChromium(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	database := dbtest.NewPatientURL(t)
	site := start(t, "PORT="+testkit.FreePort(t), "DATABASE_URL="+database).url
	const old, fresh = "ada@example.org", "ada@example.com"
	const second, third = "seven herons in the estuary", "a lantern under the long pier"
	a := auditor{newChromium(t), site, database, readAxe(t)}.newAuthenticator()
	a.withoutAutofill()
	signIn := func(email, password, selector string) {
		t.Helper()
		a.open("/login?next=/account", `#password`)
		a.submit("/login", selector, "email", email, "password", password)
	}

	a.open("/signup", `#password`)
	a.submit("/signup", `main a[href$="/sandbox/mail"]`, "name", "Ada", "email", old, "password", testkit.Password)
	a.openMail(old, "Confirm your e-mail", `form[action="/signup/confirm"] button`)
	a.run("make the account", click(`form[action="/signup/confirm"] button`), visible(`header a[href="/account"]`))

	a.signOut()
	a.open("/forgot", `#email`)
	a.submit("/forgot", `main a[href$="/sandbox/mail"]`, "email", old)
	a.openMail(old, "Choose a new password", `form[action="/reset"] button`)
	a.submit("/reset", `form[action="/login"] #email`, "password", second)
	signIn(old, second, `#two-step`)

	a.run("add a passkey", chromedp.Navigate(site+"/account/passkeys/new"), click(pressed), visible(`ol.codes`))
	recovery := a.text(`ol.codes li:first-child code`)
	a.open("/account/app", `svg.qr`)
	secret := a.text(`code.key`)
	a.submit("/account/app", `#two-step #notice`, "code", a.code(secret))

	a.signOut()
	signIn(old, second, `#code`) // the phone is lost
	a.open("/login/code?with=recovery&next=/account/email", `label[for=code]`)
	a.submit("/login/code", `form[action="/account/email"] #email`, "code", recovery)
	a.submit("/account/email", `main a[href$="/sandbox/mail"]`, "email", fresh)
	a.openMail(fresh, "Confirm your new e-mail", `form[action="/account/email/confirm"] button`)
	a.submit("/account/email/confirm", `#email #notice`)

	testkit.Execute(t, database, `DELETE FROM cairn_sandbox.mail WHERE subject = 'Choose a new password'`)
	a.open("/check-your-mail?for=undo", `main a[href$="/sandbox/mail"]`)
	a.openMail(old, "e-mail address was changed", `form[action="/undo"] button`)
	a.submit("/undo", `main a[href$="/sandbox/mail"]`)
	a.openMail(old, "Choose a new password", `form[action="/reset"] button`)
	a.submit("/reset", `form[action="/login"] #email`, "password", third)
	signIn(old, third, `#two-step`)
	a.wantTrue("the address is back", `document.querySelector("#email").textContent.includes("ada@example.org")`)

	archive, err := chromedp.Run(a.ctx, chromedp.Evaluate[string](`fetch("/account/data", {method: "POST"})
		.then((r) => r.blob()).then((b) => b.slice(0, 2).text())`, chromedp.EvalAwaitPromise))
	if err != nil || archive != "PK" {
		t.Errorf("the archive begins with %q (error %v)", archive, err)
	}
	a.wantNoComplaints()
}
