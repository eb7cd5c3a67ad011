package routes_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"cairn/internal/config"
	"cairn/internal/testkit"
)

// beside is a site beside a server with the real express-session on one database.
type beside struct {
	site
	express string // its address
}

const nodeSecrets = "the newest secret,an older secret,the oldest secret"

// adopting are the settings under which sessions are adopted.
func adopting(change ...func(*config.NodeSessions)) config.Node {
	s := config.NodeSessions{
		Until: time.Now().Add(24 * time.Hour), Secrets: strings.Split(nodeSecrets, ","),
		Cookie: "connect.sid", Table: []string{"public", "session"},
	}
	for _, c := range change {
		c(&s)
	}
	return config.Node{Sessions: s}
}

func besideExpress(t *testing.T, e testkit.Express, n config.Node) beside {
	t.Helper()
	s := newSiteWith(t, options{node: n})
	e.DatabaseURL = s.pool.Config().ConnString()
	if e.Secrets == "" {
		e.Secrets = nodeSecrets
	}
	if e.MaxAge == "" {
		e.MaxAge = "2592000000"
	}
	return beside{s, e.Start(t)}
}

// imported makes a person with an account here and an id there.
func imported(t testing.TB, s site, node int) (userID int) {
	t.Helper()
	userID = count(t, s, `INSERT INTO cairn.users (display_name) VALUES ('Ada') RETURNING id::int`)
	exec2(t, s, `INSERT INTO cairn.node_users (node_id, user_id) VALUES ($1, $2)`, node, userID)
	return userID
}

func exec2(t testing.TB, s site, sql string, args ...any) {
	t.Helper()
	if _, err := s.pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// atExpress is a browser that is signed in there. Cookies know no ports, so it has its cookie here, too.
func (s beside) atExpress(t testing.TB, node int) browser {
	t.Helper()
	b := newBrowser(t, s.site)
	b.there(s, fmt.Sprintf("/signin?user=%d", node), http.StatusOK)
	return b
}

func (b browser) there(s beside, path string, want int) string {
	b.t.Helper()
	resp, err := b.Get(s.express + path)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != want {
		b.t.Fatalf("express answered %s with %d (%s), want %d", path, resp.StatusCode, text, want)
	}
	return string(text)
}

// Genuine sessions go on here, wherever their server runs, and however it keeps them.
func TestSessionsOfExpressAreAdopted(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		express testkit.Express
		change  func(*config.NodeSessions)
	}{
		{name: "one secret", express: testkit.Express{Secrets: "the newest secret"}},
		{name: "three secrets", express: testkit.Express{}},
		{name: "signed with the oldest", express: testkit.Express{Secrets: "the oldest secret"}},
		{
			name:    "rolling, in New York",
			express: testkit.Express{Rolling: true, TimeZone: "America/New_York", UserAt: "user.id"},
		},
		{name: "in Kathmandu", express: testkit.Express{TimeZone: "Asia/Kathmandu", UserAt: "user", AsText: true}},
		{name: "passport", express: testkit.Express{UserAt: "passport.user"}},
		{
			name: "a path that is configured", express: testkit.Express{UserAt: "passport.user"},
			change: func(s *config.NodeSessions) { s.UserPath = []string{"passport", "user"} },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.change == nil {
				tt.change = func(*config.NodeSessions) {}
			}
			s := besideExpress(t, tt.express, adopting(tt.change))
			imported(t, s.site, 7)
			b := s.atExpress(t, 7)
			a := b.get("/").want(http.StatusOK, "header", "Your account")
			if !strings.Contains(a.sessionCookie(), "Max-Age=") {
				t.Errorf("the cookie is %q, want one that outlives the browser", a.sessionCookie())
			}
			if n := strings.Count(s.log.String(), "method=node_session"); n != 1 {
				t.Errorf("the sign-in is in the log %d times, want once", n)
			}
			if a := b.get("/account").want(http.StatusOK, "#sessions", "on the old site"); a.sessionCookie() != "" {
				t.Errorf("the cookie is set again: %q", a.sessionCookie())
			}
			b.there(s, "/me", http.StatusOK) // and goes on there
		})
	}
}

// A session that ends with the browser there does so here.
func TestSessionWithoutAgeEndsWithTheBrowser(t *testing.T) {
	t.Parallel()
	s := besideExpress(t, testkit.Express{MaxAge: "0"}, adopting())
	imported(t, s.site, 7)
	b := newBrowser(t, s.site)
	b.there(s, "/signin?user=7", http.StatusOK)
	if cookie := b.get("/").sessionCookie(); cookie == "" || strings.Contains(cookie, "Max-Age=") {
		t.Errorf("the cookie is %q, want one without an age", cookie)
	}
}

// What must not sign anybody in doesn't, and causes no query where the cookie alone says so.
func TestSessionsThatAreNotAdopted(t *testing.T) {
	t.Parallel()
	s := besideExpress(t, testkit.Express{}, adopting())
	userID := imported(t, s.site, 7)
	for _, tt := range []struct {
		name   string
		cookie func(string) string // what becomes of the genuine value
		before string              // a statement
		path   string
		header []string
	}{
		{name: "unsigned", cookie: func(v string) string { return v[:strings.LastIndex(v, ".")] }},
		{name: "tampered", cookie: func(v string) string { return strings.Replace(v, v[6:10], "AAAA", 1) }},
		{name: "no prefix", cookie: func(v string) string { return strings.TrimPrefix(v, "s%3A") }},
		{name: "empty", cookie: func(string) string { return "" }},
		{name: "another's signature", cookie: func(v string) string {
			return v[:strings.LastIndex(v, ".")] + ".AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
		}},
		{name: "expired there", before: `UPDATE public.session SET
			sess = jsonb_set(sess::jsonb, '{cookie,expires}', '"2020-01-01T00:00:00.000Z"'), expire = '2020-01-01'`},
		{name: "gone there", before: `DELETE FROM public.session`},
		{name: "nobody is signed in there", before: `UPDATE public.session SET sess = '{"cookie":{}}'`},
		{name: "not imported", before: `UPDATE public.session SET
			sess = jsonb_set(sess::jsonb, '{userId}', '8')`},
		{name: "data, not a page", path: "/api/auth/me"},
		{name: "a callback", path: "/api/strava/auth/callback?state=abc&code=abc"},
		{name: "asked for by a script", header: []string{"Sec-Fetch-Mode", "cors"}},
		{
			name:   "locked out since",
			before: fmt.Sprintf(`UPDATE cairn.node_users SET ended_since = now() WHERE user_id = %d`, userID),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := s.atExpress(t, 7)
			if tt.before != "" {
				exec(t, s.site, tt.before)
			}
			if tt.cookie != nil {
				at := mustParse(t, s.url)
				value := tt.cookie(b.Jar.Cookies(at)[0].Value)
				b.Jar.SetCookies(at, []*http.Cookie{{Name: "connect.sid", Value: value, Path: "/"}})
			}
			path := tt.path
			if path == "" {
				path = "/privacy"
			}
			if a := b.get(path, tt.header...); a.sessionCookie() != "" {
				t.Errorf("it is adopted: %q", a.sessionCookie())
			}
			if n := count(t, s.site, `SELECT count(*) FROM cairn.sessions`); n != 0 {
				t.Errorf("%d sessions", n)
			}
		})
	}
	exec(t, s.site, `UPDATE cairn.node_users SET ended_since = NULL`)
	b := s.atExpress(t, 7)
	at := mustParse(t, s.url)
	one := b.Jar.Cookies(at)[0]
	b.Jar.SetCookies(at, []*http.Cookie{{Name: "connect.sid", Value: one.Value, Path: "/account"}})
	if a := b.get("/account"); a.sessionCookie() != "" {
		t.Error("it is adopted though two cookies of that name came")
	}
}

// What ends here, or gets another token, is not adopted again.
func TestAdoptedSessionsEnd(t *testing.T) {
	t.Parallel()
	s := besideExpress(t, testkit.Express{}, adopting())
	imported(t, s.site, 100)
	for i, end := range []func(b browser){
		func(b browser) { b.post("/logout") },
		func(browser) {
			other := s.atExpress(t, 100)
			other.get("/")
			first := count(t, s.site, `SELECT min(id)::int FROM cairn.sessions`)
			other.post(fmt.Sprintf("/account/sessions/%d/end", first))
		},
	} {
		b := s.atExpress(t, 100)
		b.get("/").want(http.StatusOK, "header", "Your account")
		end(b)
		if b.signedIn() {
			t.Errorf("act %d: it is signed in again", i)
		}
		b.there(s, "/me", http.StatusOK) // with the sessions off, the old server knows nothing of it
		exec(t, s.site, `DELETE FROM cairn.sessions`)
	}
}

// A session that was adopted is never a recent sign-in, and its age counts from when it was last used there.
func TestAdoptedSessionIsNoFreshSignIn(t *testing.T) {
	t.Parallel()
	s := besideExpress(t, testkit.Express{}, adopting())
	imported(t, s.site, 7)
	b := s.atExpress(t, 7)
	exec(t, s.site, `UPDATE public.session SET sess = jsonb_set(sess::jsonb, '{cookie,expires}',
		to_jsonb(to_char((now() + interval '20 days') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')))`)
	b.get("/").want(http.StatusOK, "header", "Your account")
	a := b.get("/account/delete")
	if !strings.HasPrefix(a.header.Get("Location"), "/account/confirm?") {
		t.Errorf("got %d to %q, want to be asked first", a.status, a.header.Get("Location"))
	}
	days := count(t, s.site, `SELECT round(extract(epoch FROM now() - created) / 86400)::int FROM cairn.sessions`)
	if days != 10 {
		t.Errorf("the session is %d days old, want 10", days)
	}
}

// Overlapping requests of one browser at two servers lead to one session, and all answers sign in.
func TestRaceOverlappingAdoptions(t *testing.T) {
	t.Parallel()
	s := besideExpress(t, testkit.Express{}, adopting())
	second := newSiteWith(t, options{pool: s.pool, node: adopting()})
	imported(t, s.site, 7)
	for round := range testkit.Rounds(t) {
		exec(t, s.site, `DELETE FROM cairn.sessions`)
		first := s.atExpress(t, 7)
		cookies := first.Jar.Cookies(mustParse(t, s.url))
		answers := make([]answer, 20)
		var all []func()
		for i := range answers {
			b := newBrowser(t, [2]site{s.site, second}[i%2]) // each with the old cookie alone
			b.Jar.SetCookies(mustParse(t, b.site.url), cookies)
			all = append(all, func() { answers[i] = b.get("/account") })
		}
		together(all...)
		seen := map[string]bool{}
		for i, a := range answers {
			a.want(http.StatusOK, "h1", "Ada")
			seen[strings.Split(a.sessionCookie(), ";")[0]] = true
			if i == len(answers)-1 && len(seen) != 1 {
				t.Fatalf("round %d: the answers set %d different cookies", round, len(seen))
			}
		}
		if n := count(t, s.site, `SELECT count(*) FROM cairn.sessions`); n != 1 {
			t.Fatalf("round %d: %d sessions, want 1", round, n)
		}
	}
}

// A lost answer is repaired by the next request. A late one does not bring back a token that was replaced.
func TestLostAndLateAnswers(t *testing.T) {
	t.Parallel()
	s := besideExpress(t, testkit.Express{}, adopting())
	userID := imported(t, s.site, 7)
	b := s.atExpress(t, 7)
	lost := b.stolen()
	if lost.get("/").sessionCookie() == "" {
		t.Fatal("it is not adopted")
	}
	b.get("/").want(http.StatusOK, "header", "Your account") // this browser never got the first answer
	exec(t, s.site, `INSERT INTO cairn.identities (user_id, provider, subject) VALUES ($1, 'garmin', 'x')`, userID)
	b.post("/account/sessions/end-others").to("/account#sessions")
	if !b.signedIn() {
		t.Fatal("it is signed out by its own new token")
	}
	late := newBrowser(t, s.site) // has the old cookie alone
	late.Jar.SetCookies(mustParse(t, s.url), []*http.Cookie{cookieNamed(t, b, "connect.sid")})
	if late.get("/").sessionCookie() != "" {
		t.Error("the replaced token came back")
	}
	if n := count(t, s.site, `SELECT count(*) FROM cairn.sessions`); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
}

// An answer that is under way while the token is replaced does not set the old one.
func TestRaceAnswerUnderWayWhileTheTokenIsReplaced(t *testing.T) {
	t.Parallel()
	s := besideExpress(t, testkit.Express{}, adopting())
	imported(t, s.site, 7)
	b := s.atExpress(t, 7)
	slow := b.stolen()
	b.get("/privacy").want(http.StatusOK, "header", "Your account")
	release := holding(t, s.site, `LOCK TABLE cairn.connections IN ACCESS EXCLUSIVE MODE`)
	var late answer
	var wg sync.WaitGroup
	wg.Go(func() { late = slow.get("/") })
	awaitWaiting(t, s.site, 1)
	b.post("/account/sessions/end-others").to("/account#sessions")
	release()
	wg.Wait()
	if cookie := late.sessionCookie(); cookie != "" {
		t.Errorf("the late answer sets %q", cookie)
	}
}

// holding executes a statement that locks something, until release is called or the test ends.
func holding(t *testing.T, s site, statement string) (release func()) {
	t.Helper()
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	release = func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }
	t.Cleanup(release)
	if _, err := tx.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
	return release
}

// awaitWaiting waits until so many transactions of the test's database wait for locks.
func awaitWaiting(t *testing.T, s site, n int) {
	t.Helper()
	testkit.Eventually(t, fmt.Sprint(n, " wait for locks"), func() bool {
		return count(t, s, `
			SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`) == n
	})
}

func cookieNamed(t testing.TB, b browser, name string) *http.Cookie {
	t.Helper()
	for _, c := range b.Jar.Cookies(&url.URL{Scheme: "http", Host: mustParse(t, b.site.url).Host, Path: "/"}) {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("there is no cookie %s", name)
	return nil
}

// Adoption that overlaps with ending all sessions or with signing out leaves nobody in.
func TestRaceEndingAllSessionsEvictsOverlappingAdoptions(t *testing.T) {
	t.Parallel()
	s := besideExpress(t, testkit.Express{}, adopting())
	second := newSiteWith(t, options{pool: s.pool, node: adopting()})
	for round := range testkit.Rounds(t) {
		unlimited(t, s.site)
		owner := signedUp(t, s.site, fmt.Sprintf("ada%d@example.org", round))
		userID := count(t, s.site, `SELECT max(id)::int FROM cairn.users`)
		exec(t, s.site, `INSERT INTO cairn.node_users (node_id, user_id) VALUES ($1, $2)`, round+1, userID)
		var all []func()
		for i := range 4 {
			b := s.atExpress(t, round+1).at([2]site{s.site, second}[i%2])
			all = append(all, func() { b.get("/privacy") })
		}
		together(append(all, func() { owner.post("/account/sessions/end-others").to("/account#sessions") })...)
		if n := count(t, s.site, `SELECT count(*) FROM cairn.sessions WHERE user_id = $1`, userID); n != 1 {
			t.Fatalf("round %d: %d sessions, want the owner's alone", round, n)
		}
	}
}

// Somebody who comes before the next import is imported at once.
func TestSessionOfSomebodyNotYetImported(t *testing.T) {
	t.Parallel()
	n := adopting()
	n.Import = true
	s := besideExpress(t, testkit.Express{}, n)
	exec(t, s.site, testkit.NodeUsers)
	exec(t, s.site, `INSERT INTO public.users (id, foursquare_user_id, display_name) VALUES (7, 'f7', 'Grace')`)
	b := s.atExpress(t, 7)
	b.get("/").want(http.StatusOK, "header", "Grace")
	if a := s.atExpress(t, 8).get("/"); a.sessionCookie() != "" {
		t.Error("somebody without a row is signed in")
	}
}

// A row that is refused is looked at once an hour, however often its owner comes. The import alone finds it earlier.
func TestRefusedRowIsRemembered(t *testing.T) {
	t.Parallel()
	n := adopting()
	n.Import = true
	s := besideExpress(t, testkit.Express{}, n)
	exec(t, s.site, testkit.NodeUsers)
	exec(t, s.site, `INSERT INTO public.users (id, foursquare_user_id, display_name) VALUES (7, '', 'Grace')`)
	b := s.atExpress(t, 7)
	b.get("/")
	exec(t, s.site, `UPDATE public.users SET foursquare_user_id = 'f7'`)
	if a := b.get("/"); a.sessionCookie() != "" {
		t.Fatal("the row is looked at with the second visit")
	}
	exec(t, s.site, `UPDATE cairn.node_refused SET refused_at = now() - interval '61 minutes'`)
	b.get("/").want(http.StatusOK, "header", "Grace")
}

// Where nothing can be read, that is noticed once for each visitor.
func TestMissingRowsAreRemembered(t *testing.T) {
	t.Parallel()
	n := adopting()
	n.Import = true
	s := besideExpress(t, testkit.Express{}, n)
	b := s.atExpress(t, 7)
	b.get("/").want(http.StatusOK, "h1", "")
	exec(t, s.site, testkit.NodeUsers)
	exec(t, s.site, `INSERT INTO public.users (id, foursquare_user_id, display_name) VALUES (7, 'f7', 'Grace')`)
	if a := b.get("/"); a.sessionCookie() != "" {
		t.Fatal("the table is looked for with the second visit")
	}
	s.atExpress(t, 7).get("/")
	imported := count(t, s.site, `SELECT count(*) FROM cairn.node_users`)
	refused := count(t, s.site, `SELECT count(*) FROM cairn.node_refused WHERE node_id = 7`)
	if imported != 0 || refused != 1 {
		t.Errorf("%d rows are imported and %d refused, want none and one", imported, refused)
	}
}

// A table that is missing or strange signs nobody in or out, and is in the log.
func TestMisconfiguredAdoption(t *testing.T) {
	t.Parallel()
	misspelt := func(n *config.NodeSessions) { n.Table = []string{"public", "sessoin"} }
	s := besideExpress(t, testkit.Express{}, adopting(misspelt))
	imported(t, s.site, 7)
	b := s.atExpress(t, 7)
	for range 3 {
		b.get("/").want(http.StatusOK, "h1", "")
	}
	if n := strings.Count(s.log.String(), "tables of the Node server can't be used"); n != 1 {
		t.Errorf("it is in the log %d times, want once", n)
	}
	signedUp(t, s.site, "ada@example.org")
}
