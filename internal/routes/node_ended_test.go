package routes_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"cairn/internal/admin"
	"cairn/internal/node"
	"cairn/internal/testkit"
)

// operatorEnds runs server sessions end while a variable of the change-over is set.
func (s site) operatorEnds(t *testing.T, whose, variable string) string {
	t.Helper()
	var out bytes.Buffer
	err := admin.Sessions(t.Context(), admin.Env{
		Args: append([]string{"end"}, strings.Fields(whose)...), EndSessions: node.EndSessions,
		Environ: []string{"DATABASE_URL=" + s.pool.Config().ConnString(), "DATA_DIR=" + testkit.DataDir(t), variable},
		Log:     func(slog.Level) (*slog.Logger, func()) { return slog.New(slog.DiscardHandler), func() {} },
	}, &out)
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// adoptingUntil is NODE_SESSIONS_UNTIL.
func adoptingUntil() string {
	return "NODE_SESSIONS_UNTIL=" + time.Now().Add(48*time.Hour).Format(time.DateOnly)
}

// An operator who ends all sessions ends those, too, that would come over from the Node server later.
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
	if n := count(t, s.site, `SELECT count(*) FROM public.session`); n != 0 {
		t.Errorf("%d sessions go on there", n)
	}
}

// A session that is found before all end, and claimed after, is not adopted.
func TestAllEndBeforeAClaim(t *testing.T) {
	t.Parallel()
	s := besideExpress(t, testkit.Express{}, adopting())
	imported(t, s.site, 7)
	b := s.atExpress(t, 7)
	release := holding(t, s.site, `LOCK TABLE cairn.users IN EXCLUSIVE MODE`)
	together(func() { b.get("/privacy") }, func() {
		awaitWaiting(t, s.site, 1)
		s.operatorEnds(t, "--all", adoptingUntil())
		release()
	})
	if n := count(t, s.site, `SELECT count(*) FROM cairn.sessions`); n != 0 {
		t.Errorf("%d sessions, want none", n)
	}
}

// A session that is claimed before all end, and begins after, ends with them.
func TestAllEndAfterAClaim(t *testing.T) {
	t.Parallel()
	s := besideExpress(t, testkit.Express{}, adopting())
	imported(t, s.site, 7)
	b := s.atExpress(t, 7)
	release := holding(t, s.site, `LOCK TABLE cairn.sessions IN SHARE MODE`)
	together(func() { b.get("/privacy") }, func() {
		awaitWaiting(t, s.site, 1)
		s.operatorEnds(t, "--all", adoptingUntil())
	}, func() {
		awaitWaiting(t, s.site, 2)
		release()
	})
	if n := count(t, s.site, `SELECT count(*) FROM cairn.sessions`); n != 0 {
		t.Errorf("%d sessions, want none", n)
	}
}

func awaitWaiting(t *testing.T, s site, n int) {
	testkit.Eventually(t, fmt.Sprint(n, " wait for locks"), func() bool {
		return count(t, s, `SELECT count(*) FROM pg_stat_activity
			WHERE wait_event_type = 'Lock' AND datname = current_database()`) == n
	})
}
