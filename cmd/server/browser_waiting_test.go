package main

import (
	"fmt"
	"strings"
	"testing"

	"cairn/internal/testkit"

	"github.com/chromedp/chromedp"
)

// What people see while providers accept no calls.
func TestWaitingInChromium(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	server := start(t, "PORT="+testkit.FreePort(t))
	b := newChromium(t)
	b.run("sign up",
		chromedp.Navigate(server.url+"/signup"),
		chromedp.SendKeys(`#name`, "Ada Lovelace"),
		chromedp.SendKeys(`#email`, "ada@example.org"),
		chromedp.SendKeys(`#password`, testkit.Password),
		click(`form[action="/signup"] button`))
	b.confirmSignUp()
	for _, wait := range []struct{ provider, name, value, state string }{
		{"garmin", "api", "429 retry-after", "degraded"},
		{"foursquare", "quota", "1", "degraded"},
		{"strava", "quota", "200,1", "suspended"},
	} {
		b.run("connect "+wait.provider,
			chromedp.Navigate(server.url+"/connections"),
			click(`#card-`+wait.provider+` .connect button`),
			visible(`input[name=person]`),
			click(`input[name=person][value=ada]`),
			click(`button[value=allow]`),
			visible(`#card-`+wait.provider+`[data-state=active]`))
		b.turn(server.url, wait.provider, wait.name, wait.value)
		b.run("check "+wait.provider,
			chromedp.Navigate(server.url+"/connections"),
			chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`(() => { // because Refresh asks in the background
				const form = document.querySelector("#card-%[1]s .ends form");
				form.action = "/connections/%[1]s/check";
				form.requestSubmit();
			})()`, wait.provider)),
			visible(`#reference`))
		b.capture("error-wait-" + wait.provider)
		b.run("see how it is",
			chromedp.Navigate(server.url+"/connections"),
			visible(`#card-`+wait.provider+`[data-state=`+wait.state+`] .next time`))
	}
	b.run("see what happened", click(`#card-strava summary`), visible(`#card-strava .events li`))
	b.capture("connections-wait")
}

// turn sets a switch on the control page of the sandbox.
func (b chromium) turn(site, provider, name, value string) {
	b.t.Helper()
	form := fmt.Sprintf(`document.querySelector("#%s .switches")`, provider)
	b.run("open the control page",
		chromedp.Navigate(strings.Replace(site, "localhost", "127.0.0.1", 1)+"/sandbox/"),
		visible("#"+provider+" .switches"))
	fill := fmt.Sprintf(`%s.elements[%q].value = %q; %s.id = "sent"; %s.requestSubmit(); true`,
		form, name, value, form, form)
	if _, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](fill)); err != nil {
		b.t.Fatal(err)
	}
	b.run("set "+name, gone(`#sent`))
}
