package routes_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"cairn/internal/auth"
	"cairn/internal/config"
	"cairn/internal/testkit"
)

// linked is a site on which private links of the Node server work.
func linked(t *testing.T) site {
	t.Helper()
	return newSiteWith(t, options{node: config.Node{LinksUntil: time.Now().Add(24 * time.Hour)}})
}

// private is the token of a private link.
func private(n int) string { return fmt.Sprintf("%064x", n) }

// giveLink makes a user a person of the Node server with a private link.
func giveLink(t testing.TB, s site, node int, userID int) string {
	t.Helper()
	hash := sha256.Sum256([]byte(private(node)))
	_, err := s.pool.Exec(t.Context(), `
		INSERT INTO cairn.node_users (node_id, user_id, link_hash) VALUES ($1, $2, $3)`, node, userID, hash[:])
	if err != nil {
		t.Fatal(err)
	}
	return private(node)
}

// fromNode is a person who signed in with Foursquare, and has a private link.
func fromNode(t testing.TB, s site, node int, person string) (userID int, token string) {
	t.Helper()
	b := newBrowser(t, s)
	b.get(b.decide(b.consent("/login/foursquare"), person, "allow")).to("/")
	userID = count(t, s, `SELECT max(id)::int FROM cairn.users`)
	return userID, giveLink(t, s, node, userID)
}

func TestPrivateLinkSignsInAfterAQuestion(t *testing.T) {
	t.Parallel()
	s := linked(t)
	_, token := fromNode(t, s, 7, "ada")
	sessions := count(t, s, `SELECT count(*) FROM cairn.sessions`)
	for _, path := range []string{"/", "/import", "/year-in-review", "/data-sources"} {
		b := newBrowser(t, s)
		for range 3 { // previews and scanners follow links
			a := b.get(path + "?token=" + token).to("/link")
			if a.header.Get("Referrer-Policy") != "no-referrer" || a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: headers %v", path, a.header)
			}
			if cookie := a.header.Get("Set-Cookie"); !strings.Contains(cookie, "HttpOnly; SameSite=Lax") ||
				!strings.Contains(cookie, "Max-Age=600") {
				t.Errorf("%s: cookie %q", path, cookie)
			}
			b.do(http.MethodHead, "/link", nil)
			page := b.get("/link").want(http.StatusOK, "h1", "Continue as")
			if strings.Contains(page.body, token) {
				t.Errorf("%s: the token is on the page", path)
			}
		}
		if n := count(t, s, `SELECT count(*) FROM cairn.sessions`); n != sessions {
			t.Fatalf("%s: looking at the link began %d sessions", path, n-sessions)
		}
		b.post("/link", "about", about(token)).to("/")
		b.get("/").want(http.StatusOK, "#notice a[href^='/account/confirm']", "Add a password")
		sessions++
		n := count(t, s, `SELECT count(*) FROM cairn.sessions WHERE method = 'private_link'`)
		if n == 0 || !b.signedIn() {
			t.Fatalf("%s: %d sessions by link, signed in %t", path, n, b.signedIn())
		}
		b.get("/account").want(http.StatusOK, "#sessions", "with your old private link")
		b.get("/link").to("/login?notice=unknown-link") // the cookie is gone
	}
	if strings.Contains(s.log.String(), token) {
		t.Error("the log has the token")
	}
}

func TestUnknownLinks(t *testing.T) {
	t.Parallel()
	s := linked(t)
	b := newBrowser(t, s)
	_, token := fromNode(t, s, 7, "ada")
	for _, query := range []string{
		"token=", "token=abc", "token=" + token + "&token=" + token, "token=" + token + "%00",
		"token=" + token[:63] + "g",
	} {
		b.get("/?" + query).to("/login?notice=unknown-link")
	}
	b.get("/login?notice=unknown-link").want(http.StatusOK, ".notice", "sign in with Foursquare")
	if n := count(t, s, `SELECT count(*) FROM cairn.rate_limits WHERE bucket LIKE 'unknown link%'`); n != 0 {
		t.Errorf("tokens of another shape left %d counters", n)
	}
	limit := auth.DefaultLimits().LinkNetwork.Max
	for i := range limit {
		b.get("/?token=" + private(1000+i)).to("/link")
		b.get("/link").to("/login?notice=unknown-link")
	}
	b.get("/?token=" + private(2000)).to("/link")
	b.get("/link").want(http.StatusTooManyRequests, "h1", "")
	b.get("/?token=" + token).to("/link")
	b.get("/link").want(http.StatusOK, "h1", "Continue as")
}

// Pages don't send people to Foursquare where the operator has no keys of it.
func TestLinksWithoutFoursquare(t *testing.T) {
	t.Parallel()
	for without, wants := range map[string]struct{ unknown, next string }{
		"strava":     {"sign in with Foursquare", "use Foursquare or a password"},
		"foursquare": {"ask the operator", "after that, use a password"},
	} {
		s := newSiteWith(t, options{without: without, node: config.Node{LinksUntil: time.Now().Add(24 * time.Hour)}})
		userID := count(t, s, `INSERT INTO cairn.users (display_name) VALUES ('Ada') RETURNING id::int`)
		token := giveLink(t, s, 7, userID)
		b := newBrowser(t, s)
		page := b.get("/login?notice=unknown-link").want(http.StatusOK, ".notice", wants.unknown)
		b.get("/?token=" + token).to("/link")
		b.post("/link", "about", about(token)).to("/")
		notice := b.get("/").want(http.StatusOK, "#notice", wants.next)
		for _, text := range []string{page.Find("main").Text(), notice.Find("#notice").Text()} {
			if without == "foursquare" && strings.Contains(text, "Foursquare") {
				t.Errorf("without Foursquare: %s", text)
			}
		}
	}
}

func TestLinkAsksWhichAccountToKeep(t *testing.T) {
	t.Parallel()
	s := linked(t)
	_, token := fromNode(t, s, 7, "ada")
	b := signedUp(t, s, "bob@example.org")
	b.get("/?token=" + token).to("/link")
	b.get("/link").want(http.StatusOK, "main", "You’ll be signed out as Ada").
		want(http.StatusOK, "main a.button", "Stay signed in")
	b.post("/link", "about", about(token)).to("/")
	if n := count(t, s, `SELECT count(*) FROM cairn.ended_sessions WHERE reason = 'replaced'`); n != 1 {
		t.Errorf("%d sessions were replaced, want the other account's", n)
	}
	b.get("/?token=" + token).to("/link")
	b.get("/link").to("/")
}

// A session that a link began is never a recent sign-in: it can't take the account over.
func TestPrivateLinkIsNoFreshSignIn(t *testing.T) {
	t.Parallel()
	s := linked(t)
	userID, token := fromNode(t, s, 7, "ada")
	exec(t, s, `INSERT INTO cairn.identities (user_id, provider, subject, signs_in)
		VALUES ($1, 'strava', '99', false)`, userID)
	foursquare := count(t, s, `SELECT id::int FROM cairn.identities WHERE provider = 'foursquare'`)
	unconfirmed := count(t, s, `SELECT id::int FROM cairn.identities WHERE provider = 'strava'`)
	b := newBrowser(t, s)
	b.get("/?token=" + token).to("/link")
	b.post("/link", "about", about(token)).to("/")
	const confirm = "/account/confirm?"
	for _, act := range []struct {
		name string
		do   func() answer
	}{
		{"add a password", func() answer {
			return b.post("/account/password", "email", "thief@example.org", "password", password)
		}},
		{"connect, which adds a method", func() answer { return b.post("/connect/garmin") }},
		{"remove a method", func() answer { return b.post(fmt.Sprintf("/account/methods/%d/remove", foursquare)) }},
		{"allow Strava", func() answer { return b.post(fmt.Sprintf("/account/methods/%d/allow", unconfirmed)) }},
		{"look at the deletion", func() answer { return b.get("/account/delete") }},
		{"delete", func() answer { return b.post("/account/delete") }},
	} {
		a := act.do()
		if a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), confirm) {
			t.Errorf("%s: got %d to %q, want to be asked first", act.name, a.status, a.header.Get("Location"))
		}
	}
	// With Foursquare, which everybody from there has, it becomes one.
	b.get(b.decide(b.consent("/login/foursquare", "next", "/account"), "ada", "allow")).to("/account")
	b.post("/account/password", "email", "ada@example.org", "password", password).to("/account#h-password")
}

func TestEndingAPrivateLink(t *testing.T) {
	t.Parallel()
	s := linked(t)
	opens := func(token string) bool {
		b := newBrowser(t, s)
		b.get("/?token=" + token).to("/link")
		return b.get("/link").status == http.StatusOK
	}
	for i, act := range []func(b browser){
		func(b browser) {
			b.get("/account").want(http.StatusOK, "#private-link", "until")
			b.get("/account/link/end").want(http.StatusOK, "h1", "End your old private link?").
				want(http.StatusOK, ".losses", "still works on the old site")
			b.post("/account/link/end").to("/account#sessions")
			b.get("/account/link/end").want(http.StatusNotFound, "", "")
		},
		func(b browser) { b.post("/account/sessions/end-others").to("/account#sessions") },
		func(b browser) {
			b.post("/account/password", "current", password, "password", "a different heap of pebbles").
				to("/account#h-password")
		},
	} {
		b := signedUp(t, s, fmt.Sprintf("ada%d@example.org", i))
		token := giveLink(t, s, i, count(t, s, `SELECT max(id)::int FROM cairn.users`))
		if !opens(token) {
			t.Fatalf("act %d: the link does not work before it", i)
		}
		act(b)
		if opens(token) || b.get("/account").Find("#private-link").Length() > 0 {
			t.Errorf("act %d: the link still works", i)
		}
	}
}

// While the way back is open, a link ends on both sites, so the page doesn't say that it still works on the old one.
func TestEndingAPrivateLinkThereToo(t *testing.T) {
	t.Parallel()
	one, node := linked(t), wayBack()
	exec(t, one, testkit.NodeUsers)
	exec(t, one, `CREATE TABLE public.session (sid varchar PRIMARY KEY, sess json NOT NULL, expire timestamp NOT NULL)`)
	node.LinksUntil = time.Now().Add(24 * time.Hour)
	s := newSiteWith(t, options{pool: one.pool, node: node})
	b := signedUp(t, s, "ada@example.org")
	giveLink(t, s, 7, count(t, s, `SELECT max(id)::int FROM cairn.users`))
	page := b.get("/account/link/end").want(http.StatusOK, ".losses", "Nobody can sign in with it")
	if said := page.Find(".losses").Text(); strings.Contains(said, "old site") {
		t.Errorf("the page says %q", said)
	}
}

func TestLinksEndWithTheirDay(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, options{node: config.Node{LinksUntil: time.Now().Add(-time.Minute)}})
	userID, token := fromNode(t, s, 7, "ada")
	b := newBrowser(t, s)
	b.get("/?token=" + token).to("/link")
	b.post("/link", "about", about(token)).to("/login?notice=unknown-link")
	exec(t, s, `INSERT INTO cairn.node_links VALUES ($1, $2, now() + interval '1 minute')`,
		sum("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), userID)
	b.get("/link?token=ABCDEFGHIJKLMNOPQRSTUVWXYZ").to("/link")
	b.post("/link", "about", about("ABCDEFGHIJKLMNOPQRSTUVWXYZ")).to("/")
	b.get("/").want(http.StatusOK, "#notice", "can’t be used again")
	b.get("/account/delete").want(http.StatusOK, "", "") // an operator's link is a recent sign-in
}

// about is what the form of a page says that asks about a link.
func about(token string) string { return hex.EncodeToString(sum("about " + token)[:8]) }

func sum(token string) []byte {
	hash := sha256.Sum256([]byte(token))
	return hash[:]
}

// A link that is good once signs in once, however many use it at once on two servers.
func TestRaceOperatorLinkIsGoodOnce(t *testing.T) {
	t.Parallel()
	sites := twins(t)
	userID, _ := fromNode(t, sites[0], 7, "ada")
	for round := range testkit.Rounds(t) {
		unlimited(t, sites[0])
		exec(t, sites[0], `DELETE FROM cairn.sessions`)
		exec(t, sites[0], `INSERT INTO cairn.node_links VALUES ($1, $2, now() + interval '1 minute')`,
			sum("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), userID)
		var all []func()
		for i := range 6 {
			b := newBrowser(t, sites[i%2])
			b.get("/link?token=ABCDEFGHIJKLMNOPQRSTUVWXYZ").to("/link")
			all = append(all, func() { b.post("/link", "about", about("ABCDEFGHIJKLMNOPQRSTUVWXYZ")) })
		}
		together(all...)
		if n := count(t, sites[0], `SELECT count(*) FROM cairn.sessions`); n != 1 {
			t.Fatalf("round %d: %d sessions, want 1", round, n)
		}
	}
}

// Signing in by a link that overlaps with ending all sessions leaves no session.
func TestRaceEndingAllSessionsEvictsOverlappingLinks(t *testing.T) {
	t.Parallel()
	one := linked(t)
	open := config.Node{LinksUntil: time.Now().Add(time.Hour)}
	sites := [2]site{one, newSiteWith(t, options{pool: one.pool, node: open})}
	for round := range testkit.Rounds(t) {
		unlimited(t, one)
		owner := signedUp(t, one, fmt.Sprintf("ada%d@example.org", round))
		userID := count(t, one, `SELECT max(id)::int FROM cairn.users`)
		token := giveLink(t, one, round, userID)
		var all []func()
		for i := range 4 {
			b := newBrowser(t, sites[i%2])
			b.get("/?token=" + token).to("/link")
			all = append(all, func() { b.post("/link", "about", about(token)) })
		}
		together(append(all, func() { owner.post("/account/sessions/end-others").to("/account#sessions") })...)
		if n := count(t, one, `SELECT count(*) FROM cairn.sessions WHERE user_id = $1`, userID); n != 1 {
			t.Fatalf("round %d: %d sessions, want the owner's alone", round, n)
		}
	}
}
