package routes_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

const (
	firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	iphone  = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) " +
		"Version/18.5 Mobile/15E148 Safari/604.1"
)

// signedIn is a browser of an existing user, with a User-Agent.
func signedIn(t *testing.T, s site, email, agent string) browser {
	t.Helper()
	b := newBrowser(t, s)
	form := url.Values{"email": {email}, "password": {password}, "keep": {"on"}}
	b.do(http.MethodPost, "/login", form, "User-Agent", agent).to("/")
	return b
}

func TestSeeAndEndSessions(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	other := newSiteWith(t, options{pool: s.pool})
	signedUp(t, s, "ada@example.org").post("/logout")
	laptop := signedIn(t, s, "ada@example.org", firefox)
	phone := signedIn(t, other, "ada@example.org", iphone)
	odd := signedIn(t, s, "ada@example.org", "<b>x</b>")
	stranger := signedUp(t, s, "moss@example.org")

	page := laptop.get("/account", "User-Agent", firefox)
	items := page.Find("#sessions .rows li")
	if items.Length() != 3 || !items.First().HasClass("here") {
		t.Fatalf("%d sessions, first %q; want 3 with this one first", items.Length(), items.First().Text())
	}
	for _, text := range []string{"Firefox on Linux", "This device", "127.0.0.1", "with your password"} {
		page.want(200, "#sessions .rows li.here", text)
	}
	page.want(200, "#sessions", "Safari on iPhone").want(200, "#sessions", "Unknown browser")
	for _, cookie := range laptop.Jar.Cookies(mustParse(t, s.url)) {
		if strings.Contains(page.body, cookie.Value) {
			t.Error("the page shows the token")
		}
	}
	button := func(browser string) string {
		t.Helper()
		action := ""
		for i := range items.Length() {
			if item := items.Eq(i); strings.Contains(item.Text(), browser) {
				action = item.Find("a").AttrOr("href", "")
			}
		}
		return action
	}
	stranger.post(button("Safari on iPhone")).want(404, "h1", "nothing here")
	laptop.post("/account/sessions/0/end").want(404, "h1", "")
	laptop.post("/account/sessions/x/end").want(404, "h1", "")
	if !phone.signedIn() {
		t.Fatal("a stranger ended the phone's session")
	}
	laptop.post(button("Safari on iPhone")).to("/account#sessions")
	laptop.get("/account").want(200, "#sessions #notice", "Signed out Safari on iPhone")
	phone.get("/account").to("/login?next=%2Faccount&notice=sign-in")
	phone.get("/nothing").want(404, "", "") // which does not say why
	phone.get("/").to("/login")
	phone.get("/login?next=%2Faccount&notice=sign-in").want(200, "#notice", "from another of your devices")

	phone = signedIn(t, other, "ada@example.org", iphone)
	laptop.post("/account/sessions/end-others").to("/account#sessions")
	laptop.get("/account").want(200, "#sessions", "This is your only active session")
	for _, b := range []browser{phone, odd} {
		if b.signedIn() {
			t.Error("a session survived the end of all others")
		}
	}
	if !stranger.signedIn() {
		t.Error("someone else was signed out")
	}
}

func TestEndingTheOwnSessionFromTheListSignsOut(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	id := count(t, s, `SELECT max(id) FROM cairn.sessions`)
	a := b.post(fmt.Sprintf("/account/sessions/%d/end", id)).to("/?notice=signed-out")
	if !strings.Contains(a.header.Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("Set-Cookie is %q, want it cleared", a.header.Get("Set-Cookie"))
	}
}

func TestKeepMeSignedIn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	signedUp(t, s, "ada@example.org")
	b := newBrowser(t, s)
	if b.get("/login").Find("input[name=keep][checked]").Length() != 1 {
		t.Error("it is not ticked to begin with")
	}
	refused := b.post("/login", "email", "ada@example.org", "password", "wrong")
	if refused.Find("input[name=keep][checked]").Length() != 0 {
		t.Error("it was not ticked, and is after a mistake")
	}
	brief := b.post("/login", "email", "ada@example.org", "password", password).to("/").sessionCookie()
	if strings.Contains(brief, "Max-Age") || strings.Contains(brief, "Expires") {
		t.Errorf("not ticked: Set-Cookie is %q", brief)
	}
	b.get("/account").want(200, "#sessions .here", "until the browser is closed")
	kept := b.post("/login", "email", "ada@example.org", "password", password, "keep", "on").to("/").sessionCookie()
	if !strings.Contains(kept, "Max-Age=31536000") {
		t.Errorf("ticked: Set-Cookie is %q", kept)
	}
}

func TestPasswordChangeIsTheReasonOnOtherDevices(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	phone := signedIn(t, s, "ada@example.org", iphone)
	b.post("/account/password", "current", password, "password", "a different heap of pebbles").
		to("/account#h-password")
	phone.get("/login").want(200, "#notice", "because your password was changed")
	b.get("/account").want(200, "#notice", "signed out on your other devices")
}

// A person with a thousand sessions has a page of the usual size: others need the memory.
func TestManySessionsAreNotAllListed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	_, err := s.pool.Exec(t.Context(), `
		INSERT INTO cairn.sessions (token, data, expiry, user_id, method, kept, address, user_agent, last_seen)
		SELECT 'token ' || n, '{}', now() + interval '1 day', user_id, 'password', true, '', $1,
		       now() + interval '1 second'
		FROM cairn.passwords, generate_series(1, 1000) n`, firefox)
	if err != nil {
		t.Fatal(err)
	}
	page := b.get("/account").want(200, "#sessions", "And 901 more")
	if items := page.Find("#sessions .rows li"); items.Length() != 100 || !items.First().HasClass("here") {
		t.Errorf("%d sessions are listed, want 100 with this one first", items.Length())
	}
	first := count(t, s, `SELECT id FROM cairn.sessions WHERE token = 'token 1'`)
	oldest := fmt.Sprintf("/account/sessions/%d/end", first)
	b.get(oldest).want(200, "h1", "Sign out Firefox on Linux?")
	b.post(oldest)
	b.get("/account/sessions/end-others").want(200, "main", "Your 999 other sessions end at once")
	b.post("/account/sessions/end-others")
	list := b.get("/account").Find("#sessions")
	if list.Find(".rows li").Length() != 1 || strings.Contains(list.Text(), "more") {
		t.Errorf("after all others ended the page says %q", list.Text())
	}
}
