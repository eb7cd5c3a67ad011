package routes_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// aged makes all sessions too old to count as a recent sign-in.
func aged(t *testing.T, s site) {
	t.Helper()
	_, err := s.pool.Exec(t.Context(), `UPDATE cairn.sessions SET created = created - interval '11 minutes'`)
	if err != nil {
		t.Fatal(err)
	}
}

// confirming is where people are sent to re-authenticate.
func confirming(next string) string { return "/account/confirm?" + url.Values{"next": {next}}.Encode() }

// asked presses a button that requires re-authentication, and returns the address of the page for that.
func (b browser) asked(path string, fields ...string) string {
	b.t.Helper()
	a := b.post(path, fields...)
	location := a.header.Get("Location")
	if a.status != http.StatusSeeOther || !strings.HasPrefix(location, "/account/confirm?") {
		b.t.Fatalf("%s answered %d to %q, want the page that asks who the person is", path, a.status, location)
	}
	return location
}

func methods(t *testing.T, s site) int {
	t.Helper()
	return count(t, s, `SELECT (SELECT count(*) FROM cairn.identities) + (SELECT count(*) FROM cairn.passwords)`)
}

// Someone who finds a browser open can't change its owner's sign-in methods.
func TestMethodsChangeOnlyAfterSigningInAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	b.connect("strava", "ada").to("/")
	before := methods(t, s)
	strava := b.get("/account").Find("a[href^='/account/methods/'][href$='/remove']").AttrOr("href", "")
	aged(t, s)
	for path, task := range map[string]string{
		strava:                     "to remove Strava",
		"/account/password/remove": "to remove your password",
		"/account/delete":          "to delete your account",
		"/connect/garmin":          "to connect Garmin",
	} {
		b.get(b.asked(path)).want(200, "h1", task).want(200, "title", task)
	}
	b.get("/account/delete").to(confirming("/account/delete"))
	if n := methods(t, s); n != before {
		t.Errorf("there are %d sign-in methods, want %d as before", n, before)
	}
	page := b.get(confirming("/account")).want(200, "h1", "Confirm it’s you")
	page.want(200, "form[action='/login/strava'] button", "Continue with Strava")
	if page.Find("form[action='/login/garmin']").Length() != 0 {
		t.Error("the page offers a provider that is no way into this account")
	}
	b.post("/account/confirm", "next", "/account", "password", "wrong").
		want(422, "#password-error", "Wrong password")
	b.asked(strava)

	stolen := newBrowser(t, s)
	stolen.Jar.SetCookies(mustParse(t, s.url), b.Jar.Cookies(mustParse(t, s.url)))
	b.post("/account/confirm", "next", "//evil.example", "password", password).to("/")
	b.get("/account").want(200, ".notice.good", "ten minutes")
	b.get(confirming("/account")).to("/account")
	if stolen.signedIn() {
		t.Error("the token from before signing in again still works")
	}
	b.post(strava).to("/account#methods")
	b.connect("garmin", "ada").to("/")
	b.post("/account/password/remove").to("/account#methods")
}

// Re-authenticating in a session that ends with the browser doesn't make it persistent.
func TestConfirmKeepsASessionNonPersistent(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	signedUp(t, s, "ada@example.org")
	b := newBrowser(t, s)
	b.post("/login", "email", "ada@example.org", "password", password).to("/")
	aged(t, s)
	b.post("/account/confirm", "next", "/", "password", password).to("/")
	if n := count(t, s, `SELECT count(*) FROM cairn.sessions WHERE NOT kept`); n != 1 {
		t.Errorf("%d sessions are brief, want 1", n)
	}
}

func TestAddPasswordOnlyAfterSigningInAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := newBrowser(t, s)
	b.get(b.decide(b.consent("/login/strava"), "ada", "allow")).to("/")
	b.get("/account").want(200, "form[action='/account/password'] button", "Add a password")
	aged(t, s)
	if b.get("/account").Find("form[action='/account/password']").Length() != 0 {
		t.Error("the page asks for a password that it would refuse")
	}
	b.post("/account/password", "email", "thief@example.org", "password", password).
		to(confirming("/account#h-password"))
	b.post("/account/confirm", "password", password).want(422, "main", "Continue with Strava")
	if n := methods(t, s); n != 1 {
		t.Errorf("there are %d sign-in methods, want 1", n)
	}
	link := b.get("/account").Find("a[href^='/account/confirm']").AttrOr("href", "")
	next, err := url.Parse(b.get(link).Find("form[action='/login/strava'] input[name=next]").AttrOr("value", ""))
	if err != nil || next.String() != "/account#h-password" {
		t.Fatalf("the page leads on to %q", next)
	}
	b.get(b.decide(b.consent("/login/strava", "next", next.String()), "ada", "allow")).to(next.String())
	b.post("/account/password", "email", "ada@example.org", "password", password).to("/account#h-password")
}

// Connecting the same account again takes one click, however old the session is. With another
// account the same attempt would add a sign-in method, so that takes more.
func TestReconnectAddsNoSignInMethod(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	b.connect("strava", "ada").to("/")
	b.post("/connections/strava/disconnect").to("/connections#card-strava")
	aged(t, s)
	b.connect("strava", "moss").to(confirming("/"))
	if n := count(t, s, `SELECT count(*) FROM cairn.connections`) + methods(t, s); n != 2 {
		t.Errorf("%d sign-in methods and connections, want 2", n)
	}
	b.connect("strava", "ada").to("/")
	b.get("/connections").want(200, "#card-strava[data-state=active]", "Ada")
}

// A sign-in that was recent when the attempt began still counts when the person comes back.
func TestRecentSignInCountsWhenConnectingBegins(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	back := b.decide(b.consent("/connect/strava"), "ada", "allow")
	aged(t, s)
	_, err := s.pool.Exec(t.Context(), `
		UPDATE cairn.oauth_attempts SET created_at = created_at - interval '9 minutes'`)
	if err != nil {
		t.Fatal(err)
	}
	b.get(back).to("/")
	b.get("/connections").want(200, "#card-strava[data-state=active]", "Ada")
}
