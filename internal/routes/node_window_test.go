package routes_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"cairn/internal/config"
	"cairn/internal/testkit"
)

// withWayBack is a site beside express with NODE_WINDOW=both.
func withWayBack(t *testing.T, change ...func(*options)) beside {
	t.Helper()
	pool := newSite(t).pool
	s := site{pool: pool}
	exec(t, s, testkit.NodeUsers)
	express := testkit.Express{
		DatabaseURL: pool.Config().ConnString(), Secrets: nodeSecrets, MaxAge: "2592000000",
	}.Start(t)
	// connect-pg-simple makes its table with the first session.
	b := newBrowser(t, s)
	both := beside{s, express}
	b.there(both, "/signin?user=1", http.StatusOK)
	b.there(both, "/signout", http.StatusOK)
	o := options{pool: pool, node: wayBack()}
	for _, c := range change {
		c(&o)
	}
	both.site = newSiteWith(t, o)
	return both
}

func wayBack() config.Node {
	n := adopting()
	n.Both, n.EncryptionKey = true, "the key of that server"
	return n
}

// atBoth is a browser of a person of the Node server who has signed in here by password.
func (s beside) atBoth(t testing.TB, node int) (b browser, userID int) {
	t.Helper()
	b = newBrowser(t, s.site)
	b.post("/signup", "name", "Ada", "email", fmt.Sprintf("ada%d@example.org", node), "password", password).to("/")
	userID = count(t, s.site, `SELECT max(id)::int FROM cairn.users`)
	exec2(t, s.site, `INSERT INTO cairn.node_users (node_id, user_id) VALUES ($1, $2)`, node, userID)
	b.post("/logout")
	return s.signIn(t, node), userID
}

func (s beside) signIn(t testing.TB, node int) browser {
	t.Helper()
	b := newBrowser(t, s.site)
	b.post("/login", "email", fmt.Sprintf("ada%d@example.org", node), "password", password, "keep", "on").to("/")
	return b
}

// sessionsThere counts the sessions in the other server's table, in which servers keep a marker.
func (s beside) sessionsThere(t testing.TB) int {
	t.Helper()
	return count(t, s.site, `SELECT count(*) FROM public.session
		WHERE sid IS DISTINCT FROM (SELECT marker FROM cairn.node_settings)`)
}

func (s beside) sweep(t testing.TB) {
	t.Helper()
	if _, err := s.changeOver.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSessionsBegunHereGoOnThere(t *testing.T) {
	t.Parallel()
	s := withWayBack(t)
	b, _ := s.atBoth(t, 7)
	if got := b.there(s, "/me", http.StatusOK); !strings.Contains(got, `"user":7`) {
		t.Errorf("the other server says %s", got)
	}
	other := s.signIn(t, 7)
	before := other.stolen()
	other.there(s, "/me", http.StatusOK)
	other.post("/account/password", "current", password, "password", "a different heap of pebbles").
		to("/account#h-password")
	other.there(s, "/me", http.StatusOK) // with a new cookie
	b.there(s, "/me", http.StatusUnauthorized)
	before.there(s, "/me", http.StatusUnauthorized)
	other.post("/logout")
	other.there(s, "/me", http.StatusUnauthorized)
	if n := s.sessionsThere(t); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

// A person whom the Node server does not know has no session there.
func TestStrangersHaveNoMirror(t *testing.T) {
	t.Parallel()
	s := withWayBack(t)
	b := signedUp(t, s.site, "bob@example.org")
	if n := s.sessionsThere(t); n != 0 || !b.signedIn() {
		t.Errorf("%d rows, signed in %t", n, b.signedIn())
	}
}

// Signing out on one server signs out on the other, whichever began the session.
func TestSignOutHoldsOnBothServers(t *testing.T) {
	t.Parallel()
	s := withWayBack(t)
	_, userID := s.atBoth(t, 7)
	for _, tt := range []struct {
		name  string
		begin func() browser
		end   func(browser)
	}{
		{"begun here, ended there", func() browser { return s.signIn(t, 7) },
			func(b browser) { b.there(s, "/signout", http.StatusOK) }},
		{"begun here, ended here", func() browser { return s.signIn(t, 7) }, func(b browser) { b.post("/logout") }},
		{"begun there, ended there", func() browser { return s.atExpress(t, 7) },
			func(b browser) { b.there(s, "/signout", http.StatusOK) }},
		{"begun there, ended here", func() browser { return s.atExpress(t, 7) }, func(b browser) { b.post("/logout") }},
		{"begun there, ended by an operator", func() browser { return s.atExpress(t, 7) },
			func(browser) {
				exec(t, s.site, `DELETE FROM cairn.sessions WHERE user_id = $1 AND method = 'node_session'`, userID)
			}},
	} {
		b := tt.begin()
		if !b.signedIn() {
			t.Fatalf("%s: not signed in here", tt.name)
		}
		b.there(s, "/me", http.StatusOK)
		keep := s.signIn(t, 7) // so that the table is not empty
		tt.end(b)
		if b.signedIn() {
			t.Errorf("%s: signed in here", tt.name)
		}
		b.there(s, "/me", http.StatusUnauthorized)
		if !keep.signedIn() {
			t.Errorf("%s: another session ended, too", tt.name)
		}
		keep.post("/logout")
	}
}

// What the other server's table lacks signs nobody out, unless it says that the person signed out there.
func TestUnreadableTableSignsNobodyOut(t *testing.T) {
	t.Parallel()
	s := withWayBack(t)
	b, _ := s.atBoth(t, 7)
	exec(t, s.site, `UPDATE cairn.node_mirrors SET expires = now() - interval '1 minute'`)
	exec(t, s.site, `INSERT INTO public.session SELECT 'another', sess, expire FROM public.session LIMIT 1`)
	// As its sweep does past the end.
	exec(t, s.site, `DELETE FROM public.session WHERE sid IN (SELECT sid FROM cairn.node_mirrors)`)
	if !b.signedIn() {
		t.Error("signed out by a row that was past its end")
	}
	// It is written again when the session is renewed.
	exec(t, s.site, `UPDATE cairn.sessions SET expiry = now() + interval '2 days'`)
	b.get("/").want(http.StatusOK, "header", "Your account")
	b.there(s, "/me", http.StatusOK)
	exec(t, s.site, `TRUNCATE public.session`)
	if !b.signedIn() {
		t.Error("signed out by an empty table")
	}
	exec(t, s.site, `DROP TABLE public.session`)
	for range 3 {
		if !b.signedIn() {
			t.Error("signed out by a missing table")
		}
	}
	if n := strings.Count(s.log.String(), "see server doctor"); n != 1 {
		t.Errorf("it is in the log %d times, want once", n)
	}
}

// Signing in here, and going on, counts there as having been there: that server fetches nothing for people who were
// away.
func TestSignInsCountThere(t *testing.T) {
	t.Parallel()
	s := withWayBack(t, func(o *options) {
		o.node.FrontendURL, o.node.LinksUntil = mustParse(t, frontAt), time.Now().Add(24*time.Hour)
	})
	exec(t, s.site, `ALTER TABLE public.users ADD COLUMN last_login_at timestamp`)
	exec(t, s.site, `INSERT INTO public.users (id, foursquare_user_id, last_login_at) VALUES
		(7, '7', NULL), (8, '8', now() - interval '40 days')`)
	counts := func(node int) bool {
		return count(t, s.site, `SELECT count(*) FROM public.users
			WHERE id = $1 AND last_login_at > now() AT TIME ZONE 'UTC' - interval '1 minute'`, node) == 1
	}
	b, _ := s.atBoth(t, 7)
	if !counts(7) {
		t.Error("a sign-in does not count")
	}
	exec(t, s.site, `UPDATE public.users SET last_login_at = now() - interval '2 days'`)
	exec(t, s.site, `UPDATE cairn.sessions SET expiry = now() + interval '2 days'`)
	b.get("/").want(http.StatusOK, "header", "Your account")
	if !counts(7) {
		t.Error("a renewal does not count")
	}
	imported(t, s.site, 8)
	s.atExpress(t, 8).get("/").want(http.StatusOK, "header", "Your account")
	if !counts(8) {
		t.Error("an adoption does not count")
	}
	exec(t, s.site, `UPDATE public.users SET last_login_at = NULL`)
	exec(t, s.site, `UPDATE cairn.node_users SET link_hash = $1 WHERE node_id = 7`, sum(private(7)))
	newBrowser(t, s.site).withToken(http.MethodGet, "/api/auth/me", private(7))
	if !counts(7) {
		t.Error("the old front end does not count")
	}
	// Who holds the row may wait for the session.
	exec(t, s.site, `UPDATE public.users SET last_login_at = NULL`)
	release := holding(t, s.site, `SELECT FROM public.users FOR UPDATE`)
	s.signIn(t, 7)
	release()
	if counts(7) {
		t.Error("it waited for the row")
	}
}

// A session that expires here, because the other server has taken over, goes on there.
func TestSessionThatExpiresHereGoesOnThere(t *testing.T) {
	t.Parallel()
	s := withWayBack(t)
	b, _ := s.atBoth(t, 7)
	exec(t, s.site, `UPDATE cairn.sessions SET expiry = now() - interval '1 minute'`)
	exec(t, s.site, `UPDATE cairn.node_mirrors SET expires = now() - interval '1 minute'`)
	exec(t, s.site, `DELETE FROM cairn.sessions`) // as the sweep does
	b.there(s, "/me", http.StatusOK)
}

// What ends here is emptied there in the same transaction.
func TestWhatEndsHereEndsThere(t *testing.T) {
	t.Parallel()
	s := withWayBack(t)
	give := func(node int) {
		exec(t, s.site, `INSERT INTO public.users VALUES ($1, $2, 'Ada', 'sealed', $2, 'sealed', 99, 'sealed')`,
			node, private(node))
	}
	token := func(node int) (text string) {
		err := s.pool.QueryRow(t.Context(), `SELECT secret_token FROM public.users WHERE id = $1`, node).Scan(&text)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	left := func(node int) int {
		return count(t, s.site, `SELECT num_nonnulls(access_token_encrypted, strava_oauth_tokens_encrypted,
			garmin_oauth_tokens_encrypted)::int FROM public.users WHERE id = $1`, node)
	}
	give(7)
	b, userID := s.atBoth(t, 7)
	b.connect("strava", "ada")
	b.post("/connections/strava/disconnect").to("/connections#card-strava")
	if n := left(7); n != 2 {
		t.Errorf("%d sealed values are left, want 2", n)
	}
	exec(t, s.site, `UPDATE cairn.node_users SET link_hash = $2 WHERE user_id = $1`, userID, sum(private(7)))
	b.post("/account/sessions/end-others").to("/account#sessions")
	if got := token(7); got == private(7) || len(got) != 64 {
		t.Errorf("the link there is %q", got)
	}
	b.post("/account/delete").to("/account/deleted")
	if n := left(7); n != 0 {
		t.Errorf("%d sealed values are left of a deleted account", n)
	}
	b.there(s, "/me", http.StatusUnauthorized)
}

// With the way back closed nothing there is written, whatever happens here.
func TestNothingIsWrittenThereWithoutTheWayBack(t *testing.T) {
	t.Parallel()
	s := besideExpress(t, testkit.Express{}, adopting())
	exec(t, s.site, testkit.NodeUsers)
	exec(t, s.site, `ALTER TABLE public.users ADD COLUMN last_login_at timestamp`)
	exec(t, s.site, `INSERT INTO public.users VALUES (7, '7', 'Ada', 'sealed', $1, 'sealed', 99, 'sealed')`, private(7))
	userID := imported(t, s.site, 7)
	exec(t, s.site, `UPDATE cairn.node_users SET link_hash = $2 WHERE user_id = $1`, userID, sum(private(7)))
	b := s.atExpress(t, 7)
	exec(t, s.site, `CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN RAISE EXCEPTION 'written'; END $$`)
	for _, table := range []string{"users", "session"} {
		exec(t, s.site, `CREATE TRIGGER refuse BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON public.`+table+`
			EXECUTE FUNCTION public.refuse()`)
	}
	b.get("/").want(http.StatusOK, "header", "Your account")
	exec(t, s.site, `INSERT INTO cairn.passwords (user_id, email, email_key, hash)
		SELECT $1, 'ada@example.org', 'ada@example.org', hash FROM cairn.passwords LIMIT 1`, userID)
	exec(t, s.site, `UPDATE cairn.sessions SET method = 'password', created = now()`)
	b.connect("strava", "ada")
	b.post("/connections/strava/disconnect").to("/connections#card-strava")
	b.post("/account/link/end").to("/account#sessions")
	b.post("/account/sessions/end-others").to("/account#sessions")
	b.post("/account/delete").to("/account/deleted")
}

// Signing out on both servers at once leaves nobody in on either.
func TestRaceOverlappingSignOutsOnBothServers(t *testing.T) {
	t.Parallel()
	s := withWayBack(t)
	second := newSiteWith(t, options{pool: s.pool, node: wayBack()})
	s.atBoth(t, 7)
	keep := s.signIn(t, 7)
	for round := range testkit.Rounds(t) {
		unlimited(t, s.site)
		b := s.atExpress(t, 7)
		if round%2 == 0 {
			b = s.signIn(t, 7)
		}
		b.get("/").want(http.StatusOK, "header", "Your account")
		one, two, three := b.stolen(), b.stolen().at(second), b.stolen()
		together(
			func() { one.post("/logout") }, func() { two.get("/") }, func() { two.get("/account") },
			func() { _, _ = three.Get(s.express + "/signout") }, func() { _, _ = three.Get(s.express + "/me") },
		)
		for i, c := range []browser{b, one, two.at(s.site), three} {
			if c.signedIn() {
				t.Fatalf("round %d: browser %d is signed in here", round, i)
			}
		}
		b.there(s, "/me", http.StatusUnauthorized)
	}
	if !keep.signedIn() {
		t.Error("another session ended, too")
	}
}
