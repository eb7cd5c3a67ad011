package routes_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"cairn/internal/sandbox"
	"cairn/internal/testkit"
)

const dataSources = frontAt + "/data-sources?"

// asksFor returns the address to which the front end sends its visitor to connect a provider.
func (b browser) asksFor(token, provider string) string {
	b.t.Helper()
	path, field := "/api/strava/auth/start", "authorizationUrl"
	if provider == "garmin" {
		path, field = "/api/garmin/connect", "authUrl"
	}
	a := b.withToken(http.MethodGet, path, token).want(200, "", "")
	address, _ := a.field(field).(string)
	want := b.site.url + "/connect/continue?token="
	if !strings.HasPrefix(address, want) || strings.TrimSpace(a.body) != fmt.Sprintf(`{%q:%q}`, field, address) {
		b.t.Fatalf("got %s, want one address that begins with %s", a.body, want)
	}
	return address
}

// asksAbout opens such an address, and returns what the page asks about.
func (b browser) asksAbout(address, heading string) (about string) {
	b.t.Helper()
	b.get(address).to("/connect/continue")
	page := b.get("/connect/continue").want(200, "h1", heading)
	about = page.Find("main form input[name=about]").AttrOr("value", "")
	if about == "" || page.header.Get("Cache-Control") != "no-store" ||
		strings.Contains(page.body, mustParse(b.t, address).Query().Get("token")) {
		b.t.Fatalf("it asks about %q with headers %v, or has the token", about, page.header)
	}
	return about
}

// fromFrontend connects a provider from the front end, the whole way.
func (b browser) fromFrontend(token, provider, person string) answer {
	b.t.Helper()
	about := b.asksAbout(b.asksFor(token, provider), "account?")
	return b.get(b.decide(b.consent("/connect/continue", "about", about), person, "allow"))
}

// callbackOf goes the whole way but for the last step.
func (b browser) callbackOf(token, provider, decision string) string {
	b.t.Helper()
	about := b.asksAbout(b.asksFor(token, provider), "account?")
	return b.decide(b.consent("/connect/continue", "about", about), "ada", decision)
}

// connected counts the connections beside those to Foursquare.
func connected(t testing.TB, s site) int {
	t.Helper()
	return count(t, s, `SELECT count(*) FROM cairn.connections WHERE provider <> 'foursquare'`)
}

// Looking at the page changes nothing, and its button works once.
func TestConnectingFromTheFrontend(t *testing.T) {
	t.Parallel()
	s := fronted(t)
	adaID, token := fromNode(t, s, 7, "ada")
	exec(t, s, `UPDATE cairn.users SET display_name = 'Ada'`)
	b := newBrowser(t, s)
	for _, provider := range []string{"strava", "garmin"} {
		name := strings.ToUpper(provider[:1]) + provider[1:]
		address := b.asksFor(token, provider)
		for range 3 {
			b.do(http.MethodHead, address, nil).to("/connect/continue")
			b.do(http.MethodHead, "/connect/continue", nil).want(200, "", "")
			b.asksAbout(address, "Connect "+name+" to Ada’s account?")
		}
		if n := count(t, s, `SELECT count(*) FROM cairn.oauth_attempts`); n != 0 || connected(t, s) != 0 {
			t.Fatalf("looking at the page began %d attempts", n)
		}
		about := b.asksAbout(address, "Connect "+name+" to Ada’s account?")
		callback := b.decide(b.consent("/connect/continue", "about", about), "ada", "allow")
		b.get("/connect/continue").to("/login?notice=old-request")
		b.get(address).to("/connect/continue")
		b.post("/connect/continue", "about", about).to("/login?notice=old-request")
		a := b.get(callback).to(dataSources + provider + "=connected")
		if a.header.Get("Cache-Control") != "no-store" || a.sessionCookie() != "" || b.signedIn() {
			t.Errorf("%s: headers %v", provider, a.header)
		}
		b.get(callback).to("/login?notice=expired-" + provider)
		if n := count(t, s, `SELECT count(*) FROM cairn.connections c JOIN cairn.identities i ON i.id = c.identity_id
			WHERE c.provider = $1 AND c.user_id = $2 AND NOT i.signs_in`, provider, adaID); n != 1 {
			t.Errorf("%s: Ada has %d connections that sign nobody in, want 1", provider, n)
		}
		v := newBrowser(t, s)
		v.get(v.decide(v.consent("/login/"+provider), "ada", "allow")).to("/login?notice=unconfirmed-" + provider)
		exec(t, s, `DELETE FROM cairn.connections WHERE provider = $1`, provider)
	}
}

func TestConnectingFromTheFrontendFails(t *testing.T) {
	t.Parallel()
	s := fronted(t)
	_, token := fromNode(t, s, 7, "ada")
	other := signedUp(t, s, "max@example.org")
	for provider, results := range map[string]map[string]string{
		"strava": {"denied": "error=strava_failed", "refused": "error=strava_failed"},
		"garmin": {"denied": "garmin=error&reason=missing_code",
			"refused": "garmin=error&reason=token_exchange_failed"},
	} {
		b := newBrowser(t, s)
		b.get(b.callbackOf(token, provider, "deny")).to(dataSources + results["denied"])
		callback := mustParse(t, b.callbackOf(token, provider, "allow"))
		query := callback.Query()
		query.Set("code", "wrong")
		b.get(callback.Path + "?" + query.Encode()).to(dataSources + results["refused"])
		state := mustParse(t, b.callbackOf(token, provider, "allow")).Query()["state"]
		callback.RawQuery = url.Values{"state": state, "error": {"server_error"}}.Encode()
		b.get(callback.String()).to(dataSources + results["refused"])
		for _, mode := range []string{"500", sandbox.ModeReset, sandbox.ModeInvalid} {
			if err := s.sandbox.SetSwitch(t.Context(), provider, sandbox.Token, mode); err != nil {
				t.Fatal(err)
			}
			s.later(t)
			s.log.forget()
			b.get(b.callbackOf(token, provider, "allow")).to(dataSources + results["refused"])
			if !strings.Contains(s.log.String(), `level=WARN msg="request failed"`) {
				t.Errorf("%s, %s: the log does not say why", provider, mode)
			}
			unlimited(t, s)
		}
		if err := s.sandbox.SetSwitch(t.Context(), provider, sandbox.Token, sandbox.ModeNone); err != nil {
			t.Fatal(err)
		}
		s.later(t)
		other.connect(provider, "ada").to("/")
		s.log.forget()
		b.get(b.callbackOf(token, provider, "allow")).to(dataSources + results["refused"])
		if strings.Contains(s.log.String(), "level=ERROR") {
			t.Errorf("%s: a refusal counts as a failure of ours", provider)
		}
		unlimited(t, s)
	}
	if n := connected(t, s); n != 2 {
		t.Errorf("%d connections, want those of another user alone", n)
	}
}

func TestConnectingFromTheFrontendTakesTenMinutes(t *testing.T) {
	t.Parallel()
	s := fronted(t)
	_, token := fromNode(t, s, 7, "ada")
	b := newBrowser(t, s)
	about := b.asksAbout(b.asksFor(token, "strava"), "account?")
	if n := count(t, s, `SELECT count(*) FROM cairn.node_consents
		WHERE expires_at BETWEEN now() + interval '9 minutes' AND now() + interval '10 minutes'`); n != 1 {
		t.Error("it does not end after ten minutes")
	}
	exec(t, s, `UPDATE cairn.node_consents SET expires_at = expires_at - interval '10 minutes'`)
	b.stolen().get("/connect/continue").to("/login?notice=old-request")
	b.post("/connect/continue", "about", about).to("/login?notice=old-request")
	callback := b.callbackOf(token, "strava", "allow")
	exec(t, s, `UPDATE cairn.oauth_attempts SET created_at = created_at - interval '10 minutes'`)
	b.get(callback).to("/login?notice=expired-strava")
	// The next one takes the place of the one before, and each provider has its own.
	first, garmin := b.asksFor(token, "strava"), b.asksFor(token, "garmin")
	second := b.asksFor(token, "strava")
	b.get(first).to("/connect/continue")
	b.get("/connect/continue").to("/login?notice=old-request")
	b.asksAbout(garmin, "Connect Garmin")
	b.asksAbout(second, "Connect Strava")
	for _, query := range []string{"token=", "token=abc", "token=" + private(7), "token=A&token=A"} {
		b.get("/connect/continue?" + query).to("/login?notice=old-request")
	}
	if n := connected(t, s); n != 0 {
		t.Errorf("%d connections", n)
	}
}

func TestConnectingFromTheFrontendIsBoundToABrowser(t *testing.T) {
	t.Parallel()
	s := fronted(t)
	adaID, token := fromNode(t, s, 7, "ada")
	exec(t, s, `UPDATE cairn.users SET display_name = 'Ada'`)
	b := newBrowser(t, s)
	victim := signedUp(t, s, "max@example.org")
	exec(t, s, `UPDATE cairn.users SET display_name = 'Max' WHERE id <> $1`, adaID)
	// Opened in another browser, it names the account. It does not matter who is signed in there.
	victim.asksAbout(b.asksFor(token, "strava"), "Connect Strava to Ada’s account?")
	if n := count(t, s, `SELECT count(*) FROM cairn.oauth_attempts`); n != 0 {
		t.Errorf("%d attempts began", n)
	}
	callback := b.callbackOf(token, "strava", "allow")
	newBrowser(t, s).get(callback).to("/login?notice=elsewhere-strava")
	b.get(callback).to("/login?notice=expired-strava") // it is spent
	victim.get(b.callbackOf(token, "strava", "allow")).to("/")
	victim.get("/connections").want(200, "#card-strava[data-state=none]", "another browser")
	if n := connected(t, s); n != 0 {
		t.Fatalf("%d connections", n)
	}
	victim.fromFrontend(token, "strava", "ada").to(dataSources + "strava=connected")
	adas := count(t, s, `SELECT count(*) FROM cairn.connections WHERE provider = 'strava' AND user_id = $1`, adaID)
	if adas != 1 || connected(t, s) != 1 {
		t.Error("it is not connected to the account of the token")
	}
	if a := b.do(http.MethodPost, "/connect/continue", url.Values{}, "Origin", frontAt); a.status != 403 {
		t.Errorf("the front end may press the button: %d", a.status)
	}
}

// Between looking at a page and pressing its button, another site may have opened another link in this browser.
func TestButtonIsAboutWhatThePageAsked(t *testing.T) {
	t.Parallel()
	s := fronted(t)
	_, adas := fromNode(t, s, 7, "ada")
	exec(t, s, `UPDATE cairn.users SET display_name = 'Ada'`)
	_, others := fromNode(t, s, 8, "max")
	exec(t, s, `UPDATE cairn.users SET display_name = 'Mallory' WHERE display_name <> 'Ada'`)
	b := newBrowser(t, s)
	about := b.asksAbout(b.asksFor(adas, "strava"), "Connect Strava to Ada’s account?")
	b.asksAbout(b.asksFor(others, "strava"), "Connect Strava to Mallory’s account?")
	b.post("/connect/continue", "about", about).to("/connect/continue")
	b.get("/connect/continue").want(200, "h1", "Mallory")
	if n := count(t, s, `SELECT count(*) FROM cairn.oauth_attempts`); n != 0 {
		t.Errorf("%d attempts began", n)
	}
	b.get("/?token=" + adas).to("/link")
	about = b.get("/link").want(200, "h1", "Continue as Ada").Find("input[name=about]").AttrOr("value", "")
	b.get("/?token=" + others).to("/link")
	b.post("/link", "about", about).to("/link")
	if b.signedIn() {
		t.Error("signed in as Mallory")
	}
	b.get("/?token=" + adas).to("/link")
	b.post("/link", "about", about).to("/")
}

// What was begun with a link that has ended connects nothing, even if its owner has a new one by then.
func TestConnectingEndsWithTheLink(t *testing.T) {
	t.Parallel()
	s := fronted(t)
	owner := withFoursquare(t, s)
	userID := count(t, s, `SELECT id::int FROM cairn.users`)
	token := giveLink(t, s, 7, userID)
	for name, end := range map[string]func(){
		"the link":     func() { owner.post("/account/link/end").to("/account#sessions") },
		"all sessions": func() { owner.post("/account/sessions/end-others").to("/account#sessions") },
	} {
		for _, again := range []bool{false, true} {
			exec(t, s, `UPDATE cairn.node_users SET link_hash = $1, link_ended_at = NULL`, sum(token))
			b, c := newBrowser(t, s), newBrowser(t, s)
			callback := b.callbackOf(token, "strava", "allow")
			about := c.asksAbout(c.asksFor(token, "garmin"), "account?")
			end()
			if again {
				fresh := owner.logsIn(t, "ada")
				owner.withToken(http.MethodGet, "/api/auth/me", fresh).want(200, "", "")
			}
			c.post("/connect/continue", "about", about).to("/login?notice=old-request")
			s.log.forget()
			b.get(callback).to(dataSources + "error=strava_failed")
			if n := connected(t, s); n != 0 {
				t.Errorf("%s ended, a new link %t: %d connections", name, again, n)
			}
			if strings.Contains(s.log.String(), "level=ERROR") {
				t.Error("an ended link counts as a failure of ours")
			}
			unlimited(t, s)
		}
	}
	exec(t, s, `UPDATE cairn.node_users SET link_hash = $1, link_ended_at = NULL`, sum(token))
	b, c := newBrowser(t, s), newBrowser(t, s)
	callback := b.callbackOf(token, "strava", "allow")
	about := c.asksAbout(c.asksFor(token, "garmin"), "account?")
	owner.post("/account/delete").want(303, "", "")
	b.get(callback).to("/login?notice=expired-strava")
	c.post("/connect/continue", "about", about).to("/login?notice=old-request")
	if n := connected(t, s); n != 0 {
		t.Errorf("%d connections of a deleted account", n)
	}
}

// Two browsers press the button of one link at once on two servers: one of them goes on.
func TestRaceConnectingFromTheFrontendOnce(t *testing.T) {
	t.Parallel()
	sites := twinFronts(t)
	one := sites[0]
	_, token := fromNode(t, one, 7, "ada")
	for round := range testkit.Rounds(t) {
		unlimited(t, one)
		exec(t, one, `DELETE FROM cairn.oauth_attempts`)
		address := mustParse(t, newBrowser(t, one).asksFor(token, "strava")).RequestURI()
		var won atomic.Int32
		var all []func()
		for i := range 4 {
			b := newBrowser(t, sites[i%2])
			about := b.asksAbout(address, "account?")
			all = append(all, func() {
				a := b.post("/connect/continue", "about", about)
				if strings.Contains(a.header.Get("Location"), "/sandbox/") {
					won.Add(1)
				} else if a.header.Get("Location") != "/login?notice=old-request" {
					t.Errorf("round %d: %d to %q", round, a.status, a.header.Get("Location"))
				}
			})
		}
		together(all...)
		if n := count(t, one, `SELECT count(*) FROM cairn.oauth_attempts`); n != 1 || won.Load() != 1 {
			t.Fatalf("round %d: %d attempts began, and %d browsers went on", round, n, won.Load())
		}
	}
}

// A callback that overlaps with the end of the link, or of the account, connects what it says, and nothing to nobody.
func TestRaceConnectingOverlapsWithTheEnd(t *testing.T) {
	t.Parallel()
	sites := twinFronts(t)
	for round := range testkit.Rounds(t) {
		unlimited(t, sites[0])
		exec(t, sites[0], `DELETE FROM cairn.users`)
		owner := withFoursquare(t, sites[0])
		b := newBrowser(t, sites[0])
		token := giveLink(t, sites[0], round, count(t, sites[0], `SELECT id::int FROM cairn.users`))
		callback := b.callbackOf(token, "strava", "allow")
		end := []string{"/account/link/end", "/account/sessions/end-others", "/account/delete"}[round%3]
		var location string
		together(
			func() { location = b.at(sites[1]).get(callback).header.Get("Location") },
			func() { owner.post(end).want(http.StatusSeeOther, "", "") })
		n := connected(t, sites[0])
		switch location {
		case dataSources + "strava=connected":
			if n != 1 && end != "/account/delete" {
				t.Errorf("round %d, %s: said to be connected, and is not", round, end)
			}
		case dataSources + "error=strava_failed", "/login?notice=expired-strava":
			if n != 0 {
				t.Errorf("round %d, %s: connected, and said not to be", round, end)
			}
		default:
			t.Errorf("round %d, %s: led to %q", round, end, location)
		}
		if end == "/account/delete" && count(t, sites[0], `SELECT count(*) FROM cairn.identities`)+n != 0 {
			t.Errorf("round %d: something of the account is left", round)
		}
	}
	if strings.Contains(sites[0].log.String()+sites[1].log.String(), "level=ERROR") {
		t.Error("a deadlock, or another failure of ours")
	}
}

// twinFronts are two instances of a site with the old front end.
func twinFronts(t *testing.T) [2]site {
	t.Helper()
	one := fronted(t)
	return [2]site{one, fronted(t, func(o *options) { o.pool, o.public = one.pool, one.url })}
}
