package main

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/pquerna/otp/totp"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

// text returns what an element says.
func (a auditor) text(selector string) string {
	a.t.Helper()
	said, err := chromedp.Run(a.ctx, chromedp.Evaluate[string](
		`document.querySelector("`+selector+`").textContent`))
	if err != nil {
		a.t.Fatal(err)
	}
	return said
}

// code is what an authenticator app shows now. It makes the site forget that this code was used before.
func (a auditor) code(secret string) string {
	a.t.Helper()
	a.execute(`UPDATE cairn.second_factors SET last_step = 0`)
	code, err := totp.GenerateCode(strings.ReplaceAll(secret, " ", ""), time.Now())
	if err != nil {
		a.t.Fatal(err)
	}
	return code
}

// A person turns on codes, trusts a browser, loses the phone, and gets in with a recovery code.
func TestTwoStepsInChromium(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	database := dbtest.NewPatientURL(t)
	site := start(t, "PORT="+testkit.FreePort(t), "DATABASE_URL="+database).url
	ada := testkit.NewBrowser(t)
	ada.SignUp(site, "ada@example.org")
	ada.Connect(site, "garmin", "ada")
	a := auditor{newChromium(t), site, database, readAxe(t)}
	signIn := func(selector string) {
		t.Helper()
		a.run("sign in", chromedp.Navigate(site+"/login?next=/account"), visible(`#password`))
		a.submit("/login", selector, "email", "ada@example.org", "password", testkit.Password)
	}
	signOut := func() {
		t.Helper()
		a.run("sign out", chromedp.Navigate(site+"/account"), click(`form[action="/logout"] button`),
			visible(`main a[href="/signup"]`))
	}

	signIn(`#two-step`)
	a.audit("account-one-step")
	a.see("app-new", "/account/app", `svg.qr`)
	secret := a.text(`code.key`)
	a.submit("/account/app", `#code-error`, "code", "12345")
	a.audit("app-wrong-code")
	if a.text(`code.key`) != secret {
		t.Fatal("after a wrong code the page shows another secret")
	}
	a.submit("/account/app", `ol.codes`, "code", a.code(secret))
	a.audit("app-recovery-codes")
	recovery := a.text(`ol.codes li:first-child code`)
	a.wantTrue("the file has the codes", `decodeURIComponent(document.querySelector("a[download]").href)
		.includes(document.querySelector("ol.codes li:last-child code").textContent)`)
	a.see("account-two-steps", "/account", `#two-step a[href="/account/app/remove"]`)
	a.see("app-remove", "/account/app/remove", `form button.risk`)
	a.see("app-again", "/account/app", `svg.qr`)
	a.see("recovery-again", "/account/recovery-codes", `form button`)
	a.run("ask about Garmin", chromedp.Navigate(site+"/account"), click(`#methods a[href$="/code"]`),
		visible(`form button.risk`))
	a.audit("code-skip")
	a.run("skip the code", click(`form button.risk`), visible(`#methods #notice`))

	signOut()
	signIn(`#code`)
	a.audit("login-code")
	a.submit("/login/code", `#code-error`, "code", "000")
	a.audit("login-code-wrong")
	a.run("trust this browser", click(`#trust`), chromedp.SetValue(`#code`, a.code(secret)),
		click(`form[action="/login/code"] button`), visible(`#two-step form`))
	a.audit("account-trusted-browser")
	signOut()
	signIn(`#two-step`) // without a code
	a.run("be asked again", chromedp.Navigate(site+"/account"), click(`#two-step form button`),
		visible(`#two-step #notice`))
	signOut()

	signIn(`#code`)
	a.run("have lost the phone", click(`main a[href*="with=recovery"]`), visible(`label[for=code]`))
	a.audit("login-recovery-code")
	a.submit("/login/code", `form button.risk`, "code", strings.ToUpper(recovery), "next", "/account/app/remove")
	a.run("remove the app", click(`form button.risk`), visible(`#two-step #notice`))
	signOut()
	signIn(`#two-step`)
	a.wantNoComplaints()
}
