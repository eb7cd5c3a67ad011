package main

import (
	"testing"

	"github.com/chromedp/chromedp"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

// A browser that was left open for a while is asked who sits there before it changes how its owner gets in.
func TestConfirmInChromium(t *testing.T) {
	t.Parallel()
	database := dbtest.NewPatientURL(t)
	server := start(t, "PORT="+testkit.FreePort(t), "DATABASE_URL="+database)
	leave := func() {
		testkit.Execute(t, database, `UPDATE cairn.sessions SET created = created - interval '11 minutes'`)
	}
	b := newChromium(t)
	b.run("come with Strava",
		chromedp.Navigate(server.url+"/login"),
		chromedp.Click(`form[action="/login/strava"] button`),
		chromedp.WaitVisible(`input[name=person]`),
		chromedp.Click(`input[name=person][value=ada]`),
		chromedp.Click(`button[value=allow]`),
		chromedp.WaitVisible(`#days`))
	leave()
	b.run("want a password",
		chromedp.Navigate(server.url+"/account"),
		chromedp.WaitVisible(`a[href^="/account/confirm"]`))
	b.capture("account-add-password")
	b.run("be asked",
		chromedp.Click(`a[href^="/account/confirm"]`),
		chromedp.WaitVisible(`form[action="/login/strava"]`))
	b.capture("confirm-provider")
	b.run("show it",
		chromedp.Click(`form[action="/login/strava"] button`),
		chromedp.WaitVisible(`input[name=person]`),
		chromedp.Click(`input[name=person][value=ada]`),
		chromedp.Click(`button[value=allow]`),
		chromedp.WaitVisible(`form[action="/account/password"] #email`))
	b.wantURL(server.url + "/account#h-password")
	b.run("set it",
		chromedp.SendKeys(`#email`, "ada@example.org"),
		chromedp.SendKeys(`#password`, testkit.Password),
		chromedp.Click(`form[action="/account/password"] button`),
		chromedp.WaitVisible(`form[action="/account/password"] #current`))
	leave()
	b.run("connect Garmin",
		chromedp.Navigate(server.url+"/connections"),
		chromedp.Click(`form[action="/connect/garmin"] button`),
		chromedp.WaitVisible(`form[action="/account/confirm"]`))
	b.run("mistype",
		chromedp.SendKeys(`#password`, "granite"),
		chromedp.Click(`form[action="/account/confirm"] button`),
		chromedp.WaitVisible(`#password-error`))
	b.capture("confirm-error")
	b.run("type it, and be at Garmin", chromedp.SendKeys(`#password`, testkit.Password),
		chromedp.Click(`form[action="/account/confirm"] button`), chromedp.WaitVisible(`input[name=person]`),
		chromedp.Click(`input[name=person][value=ada]`), chromedp.Click(`button[value=allow]`),
		chromedp.WaitVisible(`#card-garmin[data-state=active]`))
	leave()
	b.run("connect Foursquare", chromedp.Click(`form[action="/connect/foursquare"] button`),
		chromedp.WaitVisible(`form[action="/login/garmin"]`))
	b.capture("confirm-connect")
	b.run("show it at Garmin, and be at Foursquare", chromedp.Click(`form[action="/login/garmin"] button`),
		chromedp.WaitVisible(`input[name=person]`), chromedp.Click(`input[name=person][value=ada]`),
		chromedp.Evaluate[chromedp.Void](`document.body.id = "garmin"`), chromedp.Click(`button[value=allow]`),
		chromedp.WaitNotPresent(`#garmin`),
		chromedp.WaitVisible(`input[name=person]`), chromedp.Click(`input[name=person][value=ada]`),
		chromedp.Click(`button[value=allow]`), chromedp.WaitVisible(`#card-foursquare[data-state=active]`))
	leave()
	b.run("remove Garmin",
		chromedp.Navigate(server.url+"/account"),
		chromedp.Click(`#methods li:nth-child(3) a.bad`),
		chromedp.WaitVisible(`form[action$="/remove"] button`),
		chromedp.Click(`form[action$="/remove"] button`),
		chromedp.WaitVisible(`form[action="/login/strava"]`))
	b.run("show it at Strava", chromedp.Click(`form[action="/login/strava"] button`),
		chromedp.WaitVisible(`input[name=person]`), chromedp.Click(`input[name=person][value=ada]`),
		chromedp.Click(`button[value=allow]`), chromedp.WaitVisible(`#notice`),
		chromedp.WaitVisible(`form[action$="/remove"] button`))
	b.capture("remove-confirmed")
	b.run("press the one button", chromedp.Click(`form[action$="/remove"] button`),
		chromedp.WaitVisible(`#methods #notice`))
	b.wantInView("#notice")
	b.capture("account-removed")
	b.wantNoComplaints()
}
