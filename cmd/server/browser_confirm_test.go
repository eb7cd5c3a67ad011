package main

import (
	"testing"

	"github.com/chromedp/chromedp"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

// A session that is older than ten minutes has to sign in again before it changes sign-in methods.
func TestConfirmInChromium(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	database := dbtest.NewPatientURL(t)
	server := start(t, "PORT="+testkit.FreePort(t), "DATABASE_URL="+database)
	leave := func() {
		testkit.Execute(t, database, `UPDATE cairn.sessions SET created = created - interval '11 minutes'`)
	}
	b := newChromium(t)
	b.run("come with Strava",
		chromedp.Navigate(server.url+"/login"),
		click(`form[action="/login/strava"] button`),
		visible(`input[name=person]`),
		click(`input[name=person][value=ada]`),
		click(`button[value=allow]`),
		visible(`#days`))
	testkit.Execute(t, database, `
		INSERT INTO cairn.emails (user_id, email, email_key, verified_at)
		SELECT id, 'ada@example.org', 'ada@example.org', now() FROM cairn.users`)
	leave()
	b.run("want a password",
		chromedp.Navigate(server.url+"/account"),
		visible(`a[href^="/account/confirm"]`))
	b.capture("account-add-password")
	b.run("be asked",
		click(`a[href^="/account/confirm"]`),
		visible(`form[action="/login/strava"]`))
	b.capture("confirm-provider")
	b.run("show it",
		click(`form[action="/login/strava"] button`),
		visible(`input[name=person]`),
		click(`input[name=person][value=ada]`),
		click(`button[value=allow]`),
		visible(`form[action="/account/password"] #password`))
	b.wantURL(server.url + "/account#h-password")
	b.run("set it",
		chromedp.SendKeys(`#password`, testkit.Password),
		click(`form[action="/account/password"] button`),
		visible(`form[action="/account/password"] #current`))
	leave()
	b.run("connect Garmin",
		chromedp.Navigate(server.url+"/connections"),
		click(`form[action="/connect/garmin"] button`),
		visible(`form[action="/account/confirm"]`))
	b.run("mistype",
		chromedp.SendKeys(`#password`, "granite"),
		click(`form[action="/account/confirm"] button`),
		visible(`#password-error`))
	b.capture("confirm-error")
	b.run("type it, and be at Garmin", chromedp.SendKeys(`#password`, testkit.Password),
		click(`form[action="/account/confirm"] button`), visible(`input[name=person]`),
		click(`input[name=person][value=ada]`), click(`button[value=allow]`),
		visible(`#card-garmin[data-state=active]`))
	leave()
	b.run("connect Foursquare", click(`form[action="/connect/foursquare"] button`),
		visible(`form[action="/login/garmin"]`))
	b.capture("confirm-connect")
	b.run("show it at Garmin, and be at Foursquare", click(`form[action="/login/garmin"] button`),
		visible(`input[name=person]`), click(`input[name=person][value=ada]`),
		chromedp.Evaluate[chromedp.Void](`document.body.id = "garmin"`), click(`button[value=allow]`),
		gone(`#garmin`),
		visible(`input[name=person]`), click(`input[name=person][value=ada]`),
		click(`button[value=allow]`), visible(`#card-foursquare[data-state=active]`))
	leave()
	b.run("remove Garmin",
		chromedp.Navigate(server.url+"/account"),
		click(`#methods li:nth-child(3) a.bad`),
		visible(`form[action$="/remove"] button`),
		click(`form[action$="/remove"] button`),
		visible(`form[action="/login/strava"]`))
	b.run("show it at Strava", click(`form[action="/login/strava"] button`),
		visible(`input[name=person]`), click(`input[name=person][value=ada]`),
		click(`button[value=allow]`), visible(`#notice`),
		visible(`form[action$="/remove"] button`))
	b.capture("remove-confirmed")
	b.run("press the one button", click(`form[action$="/remove"] button`),
		visible(`#methods #notice`))
	b.wantInView("#notice")
	b.capture("account-removed")
	b.wantNoComplaints()
}
