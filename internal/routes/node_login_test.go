package routes_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// logsIn signs in from the front end, the whole way, and returns the token that it gets.
func (b browser) logsIn(t testing.TB, person string) (token string) {
	t.Helper()
	a := b.get(b.decide(b.toFoursquare(t), person, "allow"))
	token, ok := strings.CutPrefix(a.header.Get("Location"), frontAt+"/import?token=")
	if a.status != http.StatusSeeOther || !ok || len(token) != 64 || a.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("got %d to %q with %v", a.status, a.header.Get("Location"), a.header)
	}
	if a.sessionCookie() != "" {
		t.Errorf("a session began: %s", a.sessionCookie())
	}
	return token
}

// toFoursquare asks to sign in from the front end, and returns the address of Foursquare's consent page.
func (b browser) toFoursquare(t testing.TB) string {
	t.Helper()
	a := b.get("/api/auth/login")
	location := a.header.Get("Location")
	if a.status != http.StatusSeeOther || !strings.Contains(location, "/sandbox/foursquare/") ||
		a.header.Get("Cache-Control") != "no-store" || a.sessionCookie() != "" {
		t.Fatalf("got %d to %q with %v", a.status, location, a.header)
	}
	return location
}

func (b browser) knows(token string, status int) {
	b.t.Helper()
	b.withToken(http.MethodGet, "/api/auth/me", token).want(status, "", "")
}

func TestFrontendLogin(t *testing.T) {
	t.Parallel()
	s := fronted(t)
	owner := withFoursquare(t, s)
	userID := count(t, s, `SELECT id::int FROM cairn.users`)
	old := giveLink(t, s, 7, userID)
	exec(t, s, `CREATE TABLE public.users (id serial PRIMARY KEY, secret_token varchar(64))`)
	exec(t, s, `INSERT INTO public.users VALUES (7, $1)`, old)
	sessions := count(t, s, `SELECT count(*) FROM cairn.sessions`)
	b := newBrowser(t, s)
	for range 2 {
		if got := b.logsIn(t, "ada"); got != old {
			t.Errorf("got another token than the Node server's: %s", got)
		}
	}
	b.knows(old, 200)

	owner.post("/account/link/end").to("/account#sessions")
	b.knows(old, 401)
	fresh := b.logsIn(t, "ada")
	if fresh == old {
		t.Error("the link that was ended works again")
	}
	b.knows(fresh, 200)
	b.knows(old, 401)
	if n := count(t, s, `SELECT count(*) FROM public.users WHERE secret_token = $1`, old); n != 1 {
		t.Error("the Node server's table was written")
	}

	// Somebody new gets an account, and a token that is kept hashed.
	c := newBrowser(t, s)
	token := c.logsIn(t, "max")
	c.knows(token, 200)
	newID := count(t, s, `SELECT max(id)::int FROM cairn.users`)
	if id := c.withToken(http.MethodGet, "/api/auth/me", token).field("id"); id != float64(newID) || newID == userID {
		t.Errorf("the new person is %v, not the new user %d", id, newID)
	}
	if n := count(t, s, `SELECT count(*) FROM cairn.node_users WHERE user_id = $1 AND link_hash = $2`,
		newID, sum(token)); n != 1 {
		t.Errorf("%d links of the new person", n)
	}
	if n := count(t, s, `SELECT count(*) FROM cairn.sessions`); n != sessions || b.signedIn() || c.signedIn() {
		t.Errorf("%d sessions began", n-sessions)
	}
	if !strings.Contains(s.log.String(), "given the private link") {
		t.Error("the log doesn't say who was given a link")
	}
	for _, secret := range []string{old, fresh, token} {
		if strings.Contains(s.log.String(), secret) {
			t.Error("the log has a token")
		}
	}
}

// Without the Node server's table, or with one of another shape, there is a new token.
func TestFrontendLoginWithoutTheNodeServersTable(t *testing.T) {
	t.Parallel()
	s := fronted(t)
	_, old := fromNode(t, s, 7, "ada")
	b := newBrowser(t, s)
	for _, sql := range []string{
		`SELECT`, `CREATE TABLE public.users (id int)`, `ALTER TABLE public.users ADD secret_token text`,
		`INSERT INTO public.users VALUES (7, NULL)`, `UPDATE public.users SET secret_token = 'no token'`,
	} {
		exec(t, s, sql)
		token := b.logsIn(t, "ada")
		b.knows(token, 200)
		b.knows(old, 200) // it goes on in a bookmark
		if token == old {
			t.Errorf("%s: got the old token, which nobody can know", sql)
		}
		unlimited(t, s)
	}
}

// Signing in on one device signs out no other, and all of them end together.
func TestFrontendLoginOnSeveralDevices(t *testing.T) {
	t.Parallel()
	s := fronted(t)
	b := newBrowser(t, s)
	var tokens []string
	for range 11 {
		tokens = append(tokens, b.logsIn(t, "ada"))
		unlimited(t, s)
	}
	b.knows(tokens[0], 401)
	for _, token := range tokens[1:] {
		b.knows(token, 200)
	}
	b.get(b.decide(b.consent("/login/foursquare"), "ada", "allow")).to("/")
	b.post("/account/link/end").to("/account#sessions")
	exec(t, s, `DELETE FROM cairn.rate_limits`)
	for _, token := range tokens {
		b.knows(token, 401)
	}
	b.knows(b.logsIn(t, "ada"), 200)
}

func TestFrontendLoginFails(t *testing.T) {
	t.Parallel()
	s := fronted(t)
	_, _ = fromNode(t, s, 7, "ada")
	b := newBrowser(t, s)
	before := kept(t, s)
	b.get(b.decide(b.toFoursquare(t), "ada", "deny")).to(frontAt + "/import")

	callback := b.decide(b.toFoursquare(t), "ada", "allow")
	newBrowser(t, s).get(callback).to("/login?notice=elsewhere-foursquare")
	b.get(callback).to("/login?notice=expired-foursquare")

	if err := s.sandbox.SetSwitch(t.Context(), "foursquare", "token", "500"); err != nil {
		t.Fatal(err)
	}
	a := b.get(b.decide(b.toFoursquare(t), "ada", "allow"))
	if !strings.HasPrefix(a.header.Get("Location"), "/login?notice=unusable-foursquare") {
		t.Errorf("got %d to %q", a.status, a.header.Get("Location"))
	}
	if after := kept(t, s); after != before {
		t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
}

func TestFrontendLoginEnds(t *testing.T) {
	t.Parallel()
	s := fronted(t)
	late := fronted(t, func(o *options) {
		o.pool, o.public, o.node.LinksUntil = s.pool, s.url, time.Now().Add(-time.Minute)
	})
	b := newBrowser(t, s)
	b.at(late).get("/api/auth/login").to("/login")
	callback := b.decide(b.toFoursquare(t), "ada", "allow")
	b.at(late).get(callback).to("/login")
	if n := count(t, s, `SELECT count(*) FROM cairn.users`); n != 0 {
		t.Errorf("%d accounts", n)
	}
}

// Nobody gets a token, or connects without a sign-in method, by asking to return to the front end's addresses.
func TestReturnPathsOfTheFrontendAreItsOwn(t *testing.T) {
	t.Parallel()
	s := fronted(t)
	for next, want := range map[string]string{
		"/api/auth/login": "/api/auth/login", "/connect/continue": "/connect/continue",
		"frontend: log in": "/", "frontend: connect": "/",
	} {
		b := newBrowser(t, s)
		b.get(b.decide(b.consent("/login/strava", "next", next), "ada", "allow")).to(want)
		if !b.signedIn() {
			t.Errorf("%s: not signed in", next)
		}
		b.get(b.decide(b.consent("/connect/garmin", "next", next), "ada", "allow")).to(want)
		if n := count(t, s, `SELECT count(*) FROM cairn.identities WHERE signs_in`); n != 2 {
			t.Errorf("%s: %d sign-in methods, want both", next, n)
		}
	}
	if n := count(t, s, `SELECT count(*) FROM cairn.node_users`); n != 0 {
		t.Errorf("%d links were made", n)
	}
}
