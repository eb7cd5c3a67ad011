package routes_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"cairn/internal/admin"
	"cairn/internal/node"
	"cairn/internal/testkit"
)

// operatorEnds runs server sessions end while a variable of the change-over is set.
func (s site) operatorEnds(t *testing.T, whose, variable string) string {
	t.Helper()
	out, err := s.endSessions(t, whose, variable)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// endSessions does the same, and any goroutine may call it.
func (s site) endSessions(t *testing.T, whose, variable string) (said string, err error) {
	var out bytes.Buffer
	err = admin.Sessions(t.Context(), admin.Env{
		Args: append([]string{"end"}, strings.Fields(whose)...), EndSessions: node.EndSessions,
		Environ: []string{"DATABASE_URL=" + s.pool.Config().ConnString(), "DATA_DIR=" + testkit.DataDir(t), variable},
		Log:     func(slog.Level) (*slog.Logger, func()) { return slog.New(slog.DiscardHandler), func() {} },
	}, &out)
	return out.String(), err
}

// adoptingUntil is NODE_SESSIONS_UNTIL.
func adoptingUntil() string {
	return "NODE_SESSIONS_UNTIL=" + time.Now().Add(48*time.Hour).Format(time.DateOnly)
}

// When an operator ends all sessions, those that have not come over from the Node server yet end, too.
func TestEndingAllSessionsMeansAll(t *testing.T) {
	t.Parallel()
	for _, age := range []string{"2592000000", "0"} { // of the cookie; without one, a session doesn't say when it began
		s := besideExpress(t, testkit.Express{MaxAge: age}, adopting())
		imported(t, s.site, 7)
		here, waiting := s.atExpress(t, 7), s.atExpress(t, 7)
		here.get("/").want(http.StatusOK, "header", "Your account")
		out := s.operatorEnds(t, "--all", adoptingUntil())
		if !strings.HasPrefix(out, "ended 1 session of all users\nnote: ") {
			t.Errorf("the command says %q", out)
		}
		for name, b := range map[string]browser{"the session": here, "one that had not come over": waiting} {
			if b.get("/"); b.signedIn() {
				t.Errorf("age %s: %s is signed in", age, name)
			}
		}
		if age == "0" {
			continue
		}
		exec(t, s.site, `UPDATE cairn.node_settings SET ended_since = now() - interval '2 hours'`)
		s.atExpress(t, 7).get("/").want(http.StatusOK, "header", "Your account") // it began later
	}
}

// A session that was there when all ended stays ended, however often that server writes it later.
func TestEndedSessionStaysEndedWhateverItsServerWrites(t *testing.T) {
	t.Parallel()
	s := besideExpress(t, testkit.Express{Rolling: true}, adopting())
	imported(t, s.site, 7)
	b := s.atExpress(t, 7)
	s.operatorEnds(t, "--all", adoptingUntil())
	exec(t, s.site, `UPDATE cairn.node_settings SET ended_since = now() - interval '2 hours'`) // when that was
	b.there(s, "/write", http.StatusOK)
	if b.get("/"); b.signedIn() {
		t.Error("it comes over")
	}
	s.atExpress(t, 7).get("/").want(http.StatusOK, "header", "Your account") // it began later
}

// Where it can't be told which sessions began before all ended, none comes over until an operator has done it again.
func TestEndingAllSessionsWithoutTheirTable(t *testing.T) {
	t.Parallel()
	s := besideExpress(t, testkit.Express{}, adopting())
	imported(t, s.site, 7)
	s.atExpress(t, 7)
	later := func() {
		exec(t, s.site, `UPDATE cairn.node_settings SET ended_since = ended_since - interval '2 hours'`)
	}
	exec(t, s.site, `ALTER TABLE public.session RENAME TO elsewhere`)
	if out := s.operatorEnds(t, "--all", adoptingUntil()); !strings.Contains(out, "don't come over any more") {
		t.Errorf("the command says %q", out)
	}
	exec(t, s.site, `ALTER TABLE public.elsewhere RENAME TO session`)
	later()
	if b := s.atExpress(t, 7); b.get("/").sessionCookie() != "" {
		t.Error("a session comes over")
	}
	if out := s.operatorEnds(t, "--all", adoptingUntil()); strings.Contains(out, "don't come over any more") {
		t.Errorf("the command says %q", out)
	}
	later()
	s.atExpress(t, 7).get("/").want(http.StatusOK, "header", "Your account")
	s.operatorEnds(t, "--all", "NODE_SESSION_TABLE=public.nothing") // where no sessions are adopted
	later()
	s.atExpress(t, 7).get("/").want(http.StatusOK, "header", "Your account")
}

func TestEndingAUsersSessionsMeansAll(t *testing.T) {
	t.Parallel()
	s := besideExpress(t, testkit.Express{}, adopting())
	userID := imported(t, s.site, 7)
	imported(t, s.site, 8)
	ada, moss := s.atExpress(t, 7), s.atExpress(t, 8)
	if out := s.operatorEnds(t, fmt.Sprint("--user-id ", userID), adoptingUntil()); !strings.Contains(out, "note: ") {
		t.Errorf("the command says %q", out)
	}
	if ada.get("/"); ada.signedIn() {
		t.Error("the session comes over")
	}
	moss.get("/").want(http.StatusOK, "header", "Your account")
}

// While the way back is open, sessions end at the Node server, too, or the command says that they don't.
func TestEndingAllSessionsEndsThemThere(t *testing.T) {
	t.Parallel()
	s := withWayBack(t)
	b, _ := s.atBoth(t, 7)
	s.atExpress(t, 8)
	const both = "NODE_WINDOW=both"
	exec(t, s.site, `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN RAISE 'not now'; END $$`)
	exec(t, s.site, `CREATE TRIGGER refuse BEFORE DELETE ON public.session FOR EACH ROW EXECUTE FUNCTION refuse()`)
	const note = "note: sessions at the Node server can't be ended there"
	if out := s.operatorEnds(t, "--all", both); !strings.Contains(out, note) {
		t.Errorf("the command says %q", out)
	}
	if b.signedIn() {
		t.Error("what fails there keeps a session here from ending")
	}
	exec(t, s.site, `DROP TRIGGER refuse ON public.session`)
	if out := s.operatorEnds(t, "--all", both); out != "ended 0 sessions of all users\n" {
		t.Errorf("the command says %q", out)
	}
	if n := s.sessionsThere(t); n != 0 {
		t.Errorf("%d sessions go on there", n)
	}
}

// claiming returns a site on which a request is about to adopt a session. A lock stops it until release is called.
func claiming(t *testing.T, lock string) (s site, release func()) {
	t.Helper()
	both := besideExpress(t, testkit.Express{}, adopting())
	imported(t, both.site, 7)
	b := both.atExpress(t, 7)
	unlock := holding(t, both.site, lock)
	var claim sync.WaitGroup
	claim.Go(func() { b.get("/privacy") })
	awaitWaiting(t, both.site, 1)
	return both.site, func() { unlock(); claim.Wait() }
}

// A session that is found before all end, and claimed after, is not adopted.
func TestRaceAllEndBeforeAClaim(t *testing.T) {
	t.Parallel()
	s, release := claiming(t, `LOCK TABLE cairn.users IN EXCLUSIVE MODE`)
	s.operatorEnds(t, "--all", adoptingUntil())
	release()
	if n := count(t, s, `SELECT count(*) FROM cairn.sessions`); n != 0 {
		t.Errorf("%d sessions, want none", n)
	}
}

// A session that is claimed before all end, and begins after, ends with them.
func TestRaceAllEndAfterAClaim(t *testing.T) {
	t.Parallel()
	s, release := claiming(t, `LOCK TABLE cairn.sessions IN SHARE MODE`)
	var err error
	var end sync.WaitGroup
	end.Go(func() { _, err = s.endSessions(t, "--all", adoptingUntil()) })
	awaitWaiting(t, s, 2)
	release()
	end.Wait()
	if n := count(t, s, `SELECT count(*) FROM cairn.sessions`); n != 0 || err != nil {
		t.Errorf("%d sessions, want none (error %v)", n, err)
	}
}

// A request that is under way at the Node server while its session ends here writes that again. It does not come back
// here, and ends there once more: when its browser comes, or in the background.
func TestRaceSessionEndsHereWhileARequestIsUnderWayThere(t *testing.T) {
	t.Parallel()
	s := withWayBack(t)
	_, userID := s.atBoth(t, 7)
	for name, end := range map[string]func(b browser){
		"signs out": func(b browser) { b.post("/logout") },
		"ended by an operator": func(browser) {
			s.operatorEnds(t, fmt.Sprint("--user-id ", userID), "NODE_WINDOW=both")
			exec(t, s.site, `UPDATE cairn.node_users SET ended_since = NULL`)
		},
		"everybody's": func(browser) { s.operatorEnds(t, "--all", "NODE_WINDOW=both") },
	} {
		unlimited(t, s.site)
		b := s.atExpress(t, 7)
		exec(t, s.site, `UPDATE cairn.node_settings SET ended_since = NULL`)
		b.get("/").want(http.StatusOK, "header", "Your account")
		again := s.writesAfter(t, b, func() { end(b) })
		exec(t, s.site, `UPDATE cairn.node_settings SET ended_since = now() - interval '2 hours'`)
		again.there(s, "/me", http.StatusOK)
		if again.get("/"); again.signedIn() {
			t.Errorf("%s: it comes back", name)
		}
		again.there(s, "/me", http.StatusUnauthorized)

		b = s.signIn(t, 7)
		again = s.writesAfter(t, b, func() { end(b) })
		again.there(s, "/me", http.StatusOK)
		if more, err := s.changeOver.Sweep(t.Context()); more || err != nil {
			t.Errorf("the sweep: more %t, error %v", more, err)
		}
		again.there(s, "/me", http.StatusUnauthorized)
	}
}

// writesAfter ends the session of a browser while a request of it is under way at the Node server, which writes the
// session after that. It returns a copy of the browser from before.
func (s beside) writesAfter(t *testing.T, b browser, end func()) browser {
	t.Helper()
	before, during := b.stolen(), b.stolen()
	var request sync.WaitGroup
	request.Go(func() {
		if resp, err := during.Get(s.express + "/write?later"); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body) // it is complete once the session is written
			_ = resp.Body.Close()
		}
	})
	testkit.Eventually(t, "the request is under way", func() bool {
		return b.there(s, "/held", http.StatusOK) == `{"held":1}`
	})
	end()
	b.there(s, "/release", http.StatusOK)
	request.Wait()
	return before
}
