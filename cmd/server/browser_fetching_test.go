package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

// What was fetched appears by itself, and focus and open details stay.
func TestFetchingInChromium(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	database := dbtest.NewPatientURL(t)
	server := start(t, "PORT="+testkit.FreePort(t), "DATABASE_URL="+database)
	goOn := holdEntries(t, database)
	b := newChromium(t)
	b.signUpAndConnect(server.url, "strava")
	b.run("wait", visible(`#card-strava .fetching`), click(`#card-strava summary`),
		visible(`#card-strava .events li`))
	b.capture("connections-fetching")
	b.wantTrue("the focus is on what was opened",
		`window.here = document.activeElement; here.matches("#card-strava summary")`)
	goOn()
	b.run("see what has come", visible(`#card-strava .asof`))
	b.wantTrue("the page was not loaded again", `window.here !== undefined`)
	b.wantTrue("the focus stays", `document.activeElement === here && here.isConnected`)
	b.wantTrue("what was open stays open", `here.parentElement.open`)
	b.wantTrue("the notice is still there",
		`document.querySelector("#notice").textContent.includes("Strava is connected")`)
	b.wantTrue("it is announced", `document.querySelector("#live[role=status]").textContent.includes("Strava")`)
	b.run("be offered to refresh",
		visible(`#card-strava form[action="/connections/strava/refresh"]`))
	b.wantTrue("the page looks no further", `document.querySelector("[data-fetching], .more") === null`)
	b.wantURL(server.url + "/connections#card-strava")
	b.wantNoComplaints()
}

// If a fetch takes long, the page stops asking and says how to go on.
func TestFetchingGivesUpInChromium(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	database := dbtest.NewPatientURL(t)
	server := start(t, "PORT="+testkit.FreePort(t), "DATABASE_URL="+database)
	defer holdEntries(t, database)()
	b := newChromium(t)
	hurry := cdppage.AddScriptToEvaluateOnNewDocumentParams{
		Source: `const wait = setTimeout; window.setTimeout = (f, ms, ...rest) => wait(f, ms / 20, ...rest)`}
	_, err := chromedp.Call(b.ctx, cdppage.AddScriptToEvaluateOnNewDocument, hurry)
	if err != nil {
		t.Fatal(err)
	}
	b.signUpAndConnect(server.url, "strava")
	b.run("wait", visible(`.more a[href="/connections"]`), visible(`#card-strava .fetching`))
	b.capture("connections-fetching-more")
	b.wantTrue("it is announced", `document.querySelector("#live").textContent === "Show what’s new"`)
}

// Without scripts the browser loads the page again, even if the address has a fragment.
func TestFetchingWithoutScriptsInChromium(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	database := dbtest.NewPatientURL(t)
	server := start(t, "PORT="+testkit.FreePort(t), "DATABASE_URL="+database)
	goOn := holdEntries(t, database)
	b := newChromium(t)
	b.signUpAndConnect(server.url, "strava")
	_, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled,
		emulation.SetScriptExecutionDisabledParams{Value: true})
	if err != nil {
		t.Fatal(err)
	}
	b.run("look", chromedp.Navigate(server.url+"/account"), chromedp.Navigate(server.url+"/connections#card-strava"),
		visible(`#card-strava .fetching`))
	goOn()
	b.run("see what has come", visible(`form[action="/connections/strava/refresh"]`))
	// A busy machine may take more than one of the six looks.
	at, err := chromedp.Run(b.ctx, chromedp.Location())
	if err != nil || !strings.HasPrefix(at, server.url+"/connections?looks=") {
		t.Errorf("the browser is at %s (error %v)", at, err)
	}
}

// confirmSignUp follows the link of a sign-up and makes the account.
func (b chromium) confirmSignUp() {
	b.t.Helper()
	b.openMail("ada@example.org", "Confirm your e-mail", `form[action="/signup/confirm"] button`)
	b.capture("signup-confirm")
	b.run("create the account", click(`form[action="/signup/confirm"] button`),
		visible(`#card-strava[data-state=none]`))
}

// openMail goes from the page that asks for it to the sandbox's mailbox, and follows the link in the newest message
// about a subject to an address, to a page with an element.
func (b chromium) openMail(to, subject, selector string) {
	b.t.Helper()
	b.run("go to the mailbox", click(`main a[href$="/sandbox/mail"]`), visible(`main h1`))
	mark := fmt.Sprintf(`(() => {
		const message = [...document.querySelectorAll("main li")]
			.find((li) => li.textContent.includes("to %s ") && li.textContent.includes("%s"));
		message?.querySelector("a").setAttribute("id", "wanted");
		return message !== undefined;
	})()`, to, subject)
	testkit.Eventually(b.t, "the message has come", func() bool {
		there, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](mark))
		if err != nil {
			b.t.Fatal(err)
		}
		if !there {
			b.run("look again", chromedp.Reload(), visible(`main h1`))
		}
		return there
	})
	b.run("open the message", click(`#wanted`), visible(`a.button`))
	b.capture("mail")
	b.run("follow its link", click(`a.button`), visible(selector))
}

func (b chromium) signUpAndConnect(site, provider string) {
	b.t.Helper()
	b.run("sign up", chromedp.Navigate(site+"/signup"), chromedp.SendKeys(`#name`, "Ada Lovelace"),
		chromedp.SendKeys(`#email`, "ada@example.org"), chromedp.SendKeys(`#password`, testkit.Password),
		click(`form[action="/signup"] button`))
	b.confirmSignUp()
	b.run("connect "+provider, chromedp.Navigate(site+"/connections"),
		click(`#card-`+provider+` .connect button`),
		visible(`input[name=person]`), click(`input[name=person][value=ada]`),
		click(`button[value=allow]`), visible(`#card-`+provider+`[data-state=active]`))
}

func (b chromium) wantTrue(what, expression string) {
	b.t.Helper()
	if ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](expression)); err != nil || !ok {
		b.t.Errorf("not so: %s (error %v)", what, err)
	}
}

// holdEntries keeps fetched entries from being stored until goOn is called. Pages can still read the table.
func holdEntries(t *testing.T, database string) (goOn func()) {
	t.Helper()
	return testkit.Lock(t, database, "cairn.latest", "EXCLUSIVE")
}
