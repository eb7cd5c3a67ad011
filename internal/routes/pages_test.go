package routes_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"

	"cairn/internal/sandbox"
)

// An error page looks neither signed in nor signed out if the session is not known.
func TestErrorsBeforeTheSessionTakeNoSide(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	neither := func(what string, a answer) {
		t.Helper()
		sides := a.Find("header a[href='/login'], header a[href='/signup'], header a[href='/account']")
		if sides.Length() != 0 {
			t.Errorf("%s: the header looks signed in or signed out", what)
		}
	}
	neither("another site", b.do(http.MethodPost, "/account/name", url.Values{}, "Sec-Fetch-Site", "cross-site").
		want(403, "h1", "Request blocked"))
	b.get("/nowhere").want(404, "header a[href='/account']", "Ada")
	newBrowser(t, s).get("/nowhere").want(404, "header a[href='/login']", "Sign in")
	shutDatabase(t, s)
	neither("no database", b.get("/account?x=1").want(503, "main a.go[href='/account?x=1']", "Try again"))
	neither("no database", b.post("/account/name", "name", "Ada").want(503, "main a.go[href='/']", "Back to Cairn"))
	neither("no database", b.get("/api/strava/auth/callback?state=x&code=y").
		want(503, "main a.go[href='/']", "Back to Cairn"))
	b.get("//evil.example/x").want(503, "main a.go[href='/']", "Try again")
}

// The sign-in page says once why a person is signed out.
func TestSignedOutReasonIsShownOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	_, err := s.pool.Exec(t.Context(), `UPDATE cairn.sessions SET created = now() - interval '366 days'`)
	if err != nil {
		t.Fatal(err)
	}
	b.get("/").to("/login")
	b.get("/login").want(200, "#notice", "You’d been signed in for a year, so please sign in again.")
	if b.get("/login").Find("#notice").Length() != 0 {
		t.Error("it is shown again")
	}
	b.get("/").want(200, "main a[href='/signup']", "Create account")
}

// The sign-in page gives the date by the clock of the user who was signed out.
func TestSignedOutDateIsInTheUsersZone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	signedIn(t, s, "ada@example.org", "").post("/account/sessions/end-others").to("/account#sessions")
	_, err := s.pool.Exec(t.Context(), `
		WITH moved AS (UPDATE cairn.users SET time_zone = 'Asia/Tokyo')
		UPDATE cairn.ended_sessions SET ended_at = '2026-01-01 15:30Z'`)
	if err != nil {
		t.Fatal(err)
	}
	b.get("/login").want(200, "#notice", "You were signed out from another of your devices on 2 January 2026.")
}

func TestFailedFormsSayErrorFirst(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	b.post("/account/name", "name", "").want(422, "title", "Error: Your account")
	b.get("/account/name").to("/account")
	aged(t, s)
	b.post("/account/confirm", "next", "/account/delete", "password", "wrong").
		want(422, "title", "Error: Confirm it’s you to delete your account")
	visitor := newBrowser(t, s)
	visitor.post("/login", "email", "ada@example.org", "password", "wrong").want(422, "title", "Error: Sign in")
	if title := visitor.get("/login").Find("title").Text(); title != "Sign in · Cairn" {
		t.Errorf("the title is %q", title)
	}
	taken := visitor.post("/signup", "email", "ada@example.org", "password", password, "next", "/account").
		want(422, "title", "Error: Create your account")
	link := taken.Find("main form[action='/signup'] a").AttrOr("href", "")
	login := visitor.get(link).want(200, "title", "Sign in")
	next := login.Find("form[action='/login'] input[name=next]").AttrOr("value", "")
	if login.Find("#email").AttrOr("value", "") != "ada@example.org" || next != "/account" {
		t.Errorf("%s loses the e-mail, or where to go on", link)
	}
}

// Irreversible actions have a page that warns first, for the person's own things only.
func TestLossesNeedConfirmation(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b, other := signedUp(t, s, "ada@example.org"), signedUp(t, s, "moss@example.org")
	for _, provider := range []string{"strava", "garmin", "foursquare"} {
		b.connect(provider, "ada").to("/")
	}
	newBrowser(t, s).post("/login", "email", "ada@example.org", "password", password).to("/")
	for _, page := range []string{"/connections", "/account"} {
		b.get(page).Find("main form button.risk").Each(func(int, *goquery.Selection) {
			t.Errorf("%s has a button that loses something", page)
		})
	}
	warnings := map[string][]string{}
	for _, page := range []string{"/connections", "/account"} {
		b.get(page).Find("main a.bad").Each(func(_ int, a *goquery.Selection) {
			warnings[page] = append(warnings[page], a.AttrOr("href", ""))
		})
	}
	if len(warnings["/connections"]) != 3 || len(warnings["/account"]) != 7 {
		t.Fatalf("the pages lead to %v", warnings)
	}
	stored := func() int {
		return methods(t, s) +
			count(t, s, `SELECT count(*) FROM cairn.sessions`) +
			count(t, s, `SELECT count(*) FROM cairn.connections`)
	}
	before := stored()
	for _, address := range append(warnings["/connections"], warnings["/account"]...) {
		a := b.get(address).want(200, "h1", "")
		button, back := a.Find("main form[action='"+address+"'] button.risk"), a.Find("main a[href^='/']")
		if button.Length() != 1 || back.Length() == 0 || a.Find("main li, main p").Length() < 2 {
			t.Errorf("%s lacks the button, the way back or what is lost", address)
		}
		if regexp.MustCompile(`\d|connections`).MatchString(address) {
			other.get(address).want(404, "", "")
		}
	}
	if stored() != before {
		t.Error("looking has changed something")
	}
	b.get("/connections/strava/disconnect").
		want(200, "main", "Connected since").
		want(200, "main", "We’ll ask Strava to remove")
	b.get("/connections/foursquare/disconnect").
		want(200, "main a[href='https://foursquare.com/settings/connections']", "Remove Cairn at Foursquare")
	b.get("/account/password/remove").want(200, "main", "You can still sign in with")
	alone := newBrowser(t, s)
	alone.get(alone.decide(alone.consent("/login/strava"), "moss", "allow")).to("/")
	alone.get("/account/password/remove").want(404, "", "")
}

// A notice is shown at the place it is about, or at the top of a page without that place.
func TestNoticesFindTheirPlace(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	b.connect("strava", "ada").to("/")
	b.get("/").want(200, "main > #notice", "Strava is connected")
	b.post("/connections/strava/check").to("/connections#card-strava")
	b.get("/account").want(200, "main > #notice", "works")
	s.later(t)
	b.post("/connections/strava/check").to("/connections#card-strava")
	a := b.get("/connections").want(200, "#card-strava > #notice", "works")
	if a.Find(".notice").Length() != 1 || b.get("/").Find("#notice").Length() != 0 {
		t.Error("the notice is shown twice")
	}
	if err := s.sandbox.SetSwitch(t.Context(), sandbox.Strava, sandbox.API, "500"); err != nil {
		t.Fatal(err)
	}
	a = b.post("/connections/strava/check").
		want(502, "main form[action='/connections/strava/check'] button", "Try again")
	a.want(502, "main a[href='/connections#card-strava']", "Back to Strava").
		want(502, "main", "shows its current state.")
	if strings.Contains(a.Find("main").Text(), "Nothing was changed") {
		t.Error("the page says that nothing was changed, and the card has")
	}
}

// Pages name the providers that are set up, and no others.
func TestPagesNameProvidersThatAreSetUp(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		without, data, kept string
		manual              int
	}{
		{"", "your Garmin, Foursquare and Strava data together",
			"without its position. Garmin’s while the connection lasts; " +
				"Foursquare’s and Strava’s for a week after they were last fetched.", 1},
		{"garmin foursquare", "your Strava data together",
			"without its position. Strava’s for a week after they were last fetched.", 0},
		{"garmin foursquare strava", "your data together", "without its position.", 0},
	} {
		b := newBrowser(t, newSiteWith(t, options{without: tt.without}))
		landing := b.get("/").want(200, "main .lead", "Cairn brings "+tt.data+" in one place")
		about := landing.Find("meta[name=description]").AttrOr("content", "")
		if !strings.HasPrefix(about, "Cairn brings "+tt.data+" in one place") {
			t.Errorf("without %s the site is described as %q", tt.without, about)
		}
		privacy := b.get("/privacy").want(200, "main", "Deleting your account deletes everything")
		if kept := privacy.Find("main li:contains('The newest 30')").Text(); !strings.HasSuffix(kept, tt.kept) {
			t.Errorf("without %s: %s", tt.without, kept)
		}
		manual := privacy.Find("main a[href='https://foursquare.com/settings/connections']")
		if manual.Length() != tt.manual {
			t.Errorf("without %s, %d links lead to where the person removes our access", tt.without, manual.Length())
		}
		for key := range strings.FieldsSeq(tt.without) {
			if text := landing.body + privacy.body; strings.Contains(strings.ToLower(text), key) {
				t.Errorf("a page names %s, which is not set up", key)
			}
		}
	}
}
