package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

// With forced colours, the current page and the main button still stand out, and what has no border gets none.
func TestForcedColoursInChromium(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	server := start(t, "PORT="+testkit.FreePort(t), "DATABASE_URL="+dbtest.NewPatientURL(t))
	b := newChromium(t)
	b.signUpAndConnect(server.url, "strava")
	b.force()
	b.run("see what has come", chromedp.Navigate(server.url+"/connections"),
		visible(`form[action="/connections/strava/refresh"]`))
	const style = `((selector, name) => getComputedStyle(document.querySelector(selector))[name])`
	const ground = style + `("body", "backgroundColor")`
	b.wantTrue("what has no border gets none", style+`("#card-strava .ghost", "borderLeftColor") === `+ground)
	b.wantTrue("the current page has a line around it", style+`(".bar [aria-current]", "outlineStyle") === "solid"`)
	b.wantTrue("the other page has none", style+`(".bar nav a:not([aria-current])", "outlineStyle") === "none"`)
	const doubled = `((selector) => getComputedStyle(document.querySelector(selector)).borderTopStyle === "double")`
	b.wantTrue("the main button has two lines around it, the others one",
		doubled+`("#card-garmin .go") && !`+doubled+`("#card-strava .ghost")`)
	b.picture("forced-connections")
	b.run("look at what is lost", chromedp.Navigate(server.url+"/connections/strava/disconnect"),
		visible(`form button.risk`))
	b.wantTrue("so has the button that loses something", doubled+`("form .risk") && !`+doubled+`("form a.button")`)
	b.picture("forced-disconnect")
	b.run("look at the account", chromedp.Navigate(server.url+"/account"), visible(`#sessions`))
	b.picture("forced-account")
}

func (b chromium) force() {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "forced-colors", Value: "active"}}})
	if err != nil {
		b.t.Fatal(err)
	}
}

// picture is capture for a page with forced colours.
func (b chromium) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}
