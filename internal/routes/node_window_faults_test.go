package routes_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"cairn/internal/testkit"
)

// brokenTable are reasons why the other server's table can't be used.
var brokenTable = map[string]string{
	"missing":     `ALTER TABLE public.session RENAME TO elsewhere`,
	"other types": `ALTER TABLE public.session ALTER sid TYPE bytea USING convert_to(sid, 'UTF8')`,
	"a view": `ALTER TABLE public.session RENAME TO elsewhere;
		CREATE VIEW public.session AS SELECT sid, sess, expire FROM public.elsewhere LIMIT 9`,
	"refuses": `CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN RAISE insufficient_privilege; END $$;
		CREATE TRIGGER refuse BEFORE INSERT OR UPDATE OR DELETE ON public.session EXECUTE FUNCTION public.refuse()`,
}

// A table that can't be used costs nobody anything here.
func TestUnusableTableIsNoReasonHere(t *testing.T) {
	t.Parallel()
	for name, broken := range brokenTable {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := withWayBack(t)
			b, userID := s.atBoth(t, 7)
			out, others := s.signIn(t, 7), s.signIn(t, 7)
			exec(t, s.site, broken)
			if !b.signedIn() {
				t.Fatal("signed out")
			}
			exec(t, s.site, `UPDATE cairn.sessions SET expiry = now() + interval '2 days'`)
			b.get("/")
			n := count(t, s.site, `SELECT count(*) FROM cairn.sessions WHERE expiry > now() + interval '20 days'`)
			if n != 1 {
				t.Error("the session was not renewed")
			}
			out.post("/logout")
			if out.signedIn() {
				t.Error("sign-out failed")
			}
			if !s.signIn(t, 7).signedIn() {
				t.Error("nobody can sign in")
			}
			b.post("/account/password", "current", password, "password", "a different heap of pebbles").
				to("/account#h-password")
			if others.signedIn() || !b.signedIn() {
				t.Error("the change of the password ended the wrong sessions")
			}
			b.post("/account/delete").to("/account/deleted")
			if n := count(t, s.site, `SELECT count(*) FROM cairn.users WHERE id = $1`, userID); n != 0 {
				t.Error("the account was not deleted")
			}
			if !strings.Contains(s.log.String(), "see server doctor") {
				t.Error("nothing is in the log")
			}
		})
	}
}

// A table of users that can't be written costs nobody anything here, either.
func TestUnusableUsersAreNoReasonHere(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]string{
		"not null": `ALTER TABLE public.users ALTER strava_oauth_tokens_encrypted SET NOT NULL,
			ALTER access_token_encrypted SET NOT NULL`,
		"a view": `ALTER TABLE public.users RENAME TO people;
			CREATE VIEW public.users AS SELECT DISTINCT * FROM public.people`,
		"text": `ALTER TABLE public.users ALTER id DROP DEFAULT, ALTER id TYPE text`,
		"gone": `DROP TABLE public.users`,
		"refuses": `CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS
			$$ BEGIN RAISE insufficient_privilege; END $$;
			CREATE TRIGGER refuse BEFORE UPDATE ON public.users EXECUTE FUNCTION public.refuse()`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := withWayBack(t)
			exec(t, s.site, `INSERT INTO public.users VALUES (7, '7', 'Ada', 'sealed', $1, 'sealed', 99, 'sealed')`,
				private(7))
			b, userID := s.atBoth(t, 7)
			exec(t, s.site, `UPDATE cairn.node_users SET link_hash = $2 WHERE user_id = $1`, userID, sum(private(7)))
			exec(t, s.site, broken)
			b.connect("strava", "ada")
			b.post("/connections/strava/disconnect").to("/connections#card-strava")
			b.post("/account/sessions/end-others").to("/account#sessions")
			if n := count(t, s.site, `SELECT count(*) FROM cairn.node_users WHERE link_hash IS NOT NULL`); n != 0 {
				t.Error("the link works")
			}
			b.post("/account/delete").to("/account/deleted")
			if n := count(t, s.site, `SELECT count(*) FROM cairn.users WHERE id = $1`, userID); n != 0 {
				t.Error("the account was not deleted")
			}
		})
	}
}

// What somebody else's session there holds is no obstacle to ending one's own.
func TestEndingSessionsThereBesideOddOnes(t *testing.T) {
	t.Parallel()
	s := withWayBack(t)
	b, _ := s.atBoth(t, 7)
	there := newBrowser(t, s.site)
	there.there(s, "/signin?user=7", http.StatusOK)
	another := newBrowser(t, s.site)
	another.there(s, "/signin?user=77", http.StatusOK)
	exec(t, s.site, `INSERT INTO public.session (sid, sess, expire)
		SELECT 'odd' || n, sess::json, now() + interval '1 day' FROM (VALUES
			(1, '{"cookie":{}, "returnTo": "\u0000", "userId": 8}'), (2, '{"a":"\ud800", "userId": 7, "b":"\u0000"}'),
			(3, '{"userId": 1e400}'), (4, '"7"')) AS odd (n, sess)`)
	b.post("/account/sessions/end-others").to("/account#sessions")
	there.there(s, "/me", http.StatusUnauthorized)
	another.there(s, "/me", http.StatusOK)
	b.there(s, "/me", http.StatusOK)
	if n := count(t, s.site, `SELECT count(*) FROM public.session WHERE sid LIKE 'odd%'`); n != 3 {
		t.Errorf("%d odd sessions are left, want all but the person's", n)
	}
	// Neither is what the person's own session holds an obstacle to adopting it.
	odd := s.atExpress(t, 7)
	exec(t, s.site, `UPDATE public.session SET sess = replace(sess::text, '"userId":7', '"x":"\u0000","userId":7')::json
		WHERE sid NOT IN (SELECT sid FROM cairn.node_mirrors)`)
	odd.get("/").want(http.StatusOK, "header", "Your account")
}

// A session that began before its user ended all of them is not adopted, whatever becomes of its row.
func TestSessionsBeforeTheLockOutAreNotAdopted(t *testing.T) {
	t.Parallel()
	s := withWayBack(t)
	b, _ := s.atBoth(t, 7)
	written, kept := newBrowser(t, s.site), newBrowser(t, s.site)
	written.there(s, "/signin?user=7", http.StatusOK)
	exec(t, s.site, `CREATE TABLE public.before AS SELECT * FROM public.session`)
	b.post("/account/sessions/end-others").to("/account#sessions")
	exec(t, s.site, `INSERT INTO public.session SELECT * FROM public.before ON CONFLICT DO NOTHING`)
	if written.signedIn() {
		t.Error("a session whose row was written again is adopted")
	}
	kept.there(s, "/signin?user=7", http.StatusOK)
	exec(t, s.site, brokenTable["refuses"])
	b.post("/account/sessions/end-others").to("/account#sessions")
	exec(t, s.site, `DROP TRIGGER refuse ON public.session`)
	if kept.signedIn() {
		t.Error("a session whose row could not be deleted is adopted")
	}
}

// A deleted account is signed in nowhere.
func TestDeletionEndsSessionsThere(t *testing.T) {
	t.Parallel()
	s := withWayBack(t)
	b, _ := s.atBoth(t, 7)
	there := newBrowser(t, s.site)
	there.there(s, "/signin?user=7", http.StatusOK) // never came here
	b.post("/account/delete").to("/account/deleted")
	there.there(s, "/me", http.StatusUnauthorized)
}

// What that server keeps of its own cookie stays when the session goes on here.
func TestMirrorKeepsTheCookiesAttributes(t *testing.T) {
	t.Parallel()
	s := withWayBack(t)
	s.atBoth(t, 7)
	b := s.atExpress(t, 7)
	b.get("/").want(http.StatusOK, "header", "Your account")
	n := count(t, s.site, `SELECT count(*) FROM public.session WHERE sess #>> '{cookie,sameSite}' = 'lax'
		AND (sess #>> '{cookie,expires}')::timestamptz > now() + interval '29 days'`)
	if n != 2 {
		t.Errorf("%d sessions there have an end and say SameSite, want both", n)
	}
}

// The cookie for that server lasts as long as ours, which is renewed without a new cookie.
func TestMirrorsCookieLastsAsLongAsOurs(t *testing.T) {
	t.Parallel()
	s := withWayBack(t)
	b, _ := s.atBoth(t, 7)
	b.post("/logout")
	b = newBrowser(t, s.site)
	a := b.post("/login", "email", "ada7@example.org", "password", password, "keep", "on")
	for _, line := range a.header.Values("Set-Cookie") {
		cookie, err := http.ParseSetCookie(line)
		if err != nil {
			t.Fatal(err)
		}
		if cookie.Name == "connect.sid" && time.Until(cookie.Expires) < 300*24*time.Hour && cookie.MaxAge < 300*86400 {
			t.Errorf("the cookie is %q", strings.SplitAfterN(line, ";", 2)[1])
		}
	}
}

// A cookie with a domain is another one than a cookie without: both servers have to mean the same.
func TestMirrorsCookieHasTheDomain(t *testing.T) {
	t.Parallel()
	s := withWayBack(t, func(o *options) { o.node.Sessions.Domain = "localhost" })
	b, _ := s.atBoth(t, 7)
	b.post("/logout")
	b = newBrowser(t, s.site)
	in := b.post("/login", "email", "ada7@example.org", "password", password, "keep", "on")
	for name, a := range map[string]answer{"sign-in": in, "sign-out": b.post("/logout")} {
		line := strings.Join(a.header.Values("Set-Cookie"), "\n")
		if !regexp.MustCompile(`(?m)^connect\.sid=.*; Domain=localhost`).MatchString(line) {
			t.Errorf("%s sets %d cookies, none with the domain", name, len(a.header.Values("Set-Cookie")))
		}
	}
}

// Locking others out overlaps with renewals and sign-outs of the same person's sessions, and all succeed.
func TestRaceLockOutOverlapsWithRenewalsAndSignOuts(t *testing.T) {
	t.Parallel()
	s := withWayBack(t)
	second := newSiteWith(t, options{pool: s.pool, node: wayBack()})
	s.atBoth(t, 7)
	for round := range testkit.Rounds(t) {
		unlimited(t, s.site)
		b := s.signIn(t, 7)
		var all []func()
		statuses := make([]int, 7)
		for i := range statuses[1:] {
			other := s.signIn(t, 7)
			if i%2 == 1 {
				other = other.at(second)
				other.Jar.SetCookies(mustParse(t, second.url), other.Jar.Cookies(mustParse(t, s.url)))
			}
			if i%3 == 0 {
				all = append(all, func() { statuses[i+1] = other.post("/logout").status })
			} else {
				all = append(all, func() { statuses[i+1] = other.get("/").status })
			}
		}
		exec(t, s.site, `UPDATE cairn.sessions SET expiry = now() + interval '2 days'`)
		together(append(all, func() { statuses[0] = b.post("/account/sessions/end-others").status })...)
		for i, status := range statuses {
			if status >= 500 {
				t.Errorf("round %d: request %d was answered %d", round, i, status)
			}
		}
		if n := s.sessionsThere(t); n != 1 {
			t.Fatalf("round %d: %d sessions there, want 1", round, n)
		}
		b.there(s, "/me", http.StatusOK)
		b.post("/logout")
	}
	if strings.Contains(s.log.String(), "deadlock") {
		t.Error("there was a deadlock")
	}
}

// Some keep the table with other types, which that server takes as well.
func TestMirrorInATableOfOtherTypes(t *testing.T) {
	t.Parallel()
	s := withWayBack(t)
	exec(t, s.site, `ALTER TABLE public.session
		ALTER sess TYPE jsonb, ALTER expire TYPE timestamptz, ALTER sid TYPE text`)
	b, _ := s.atBoth(t, 7)
	b.there(s, "/me", http.StatusOK)
	b.post("/account/sessions/end-others").to("/account#sessions")
	b.there(s, "/me", http.StatusOK)
	adopted := s.atExpress(t, 7)
	adopted.get("/").want(http.StatusOK, "header", "Your account")
	exec(t, s.site, `UPDATE cairn.sessions SET expiry = now() + interval '2 days'`)
	adopted.get("/")
	adopted.there(s, "/me", http.StatusOK)
	adopted.post("/logout")
	adopted.there(s, "/me", http.StatusUnauthorized)
	b.post("/account/sessions/end-others").to("/account#sessions")
	if n := s.sessionsThere(t); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}
