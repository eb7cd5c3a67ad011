package main

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cairn/db/dbtest"
	"cairn/internal/admin"
	"cairn/internal/testkit"
)

func TestOperatorListsAndEndsSessions(t *testing.T) {
	t.Parallel()
	env := []string{"PORT=0", "DATA_DIR=" + testkit.DataDir(t), "DATABASE_URL=" + dbtest.NewPatientURL(t)}
	server := start(t, env...)
	ada, phone, moss := testkit.NewBrowser(t), testkit.NewBrowser(t), testkit.NewBrowser(t)
	ada.SignUp(server.url, "ada@example.org")
	phone.SignIn(server.url, "ada@example.org")
	moss.SignUp(server.url, "moss@example.org")
	run := func(args ...string) string {
		t.Helper()
		return commandOutput(t, env, append([]string{"sessions"}, args...)...)
	}
	for args, lines := range map[string]int{"list --user ADA@example.org": 3, "list --all": 4} {
		out := run(strings.Fields(args)...)
		if n := strings.Count(out, "\n"); n != lines || !strings.Contains(out, "password") {
			t.Errorf("%s: %d lines, want %d:\n%s", args, n, lines, out)
		}
	}
	if out := run("end", "--user", "ada@example.org"); out != "ended 2 sessions of user 1\n" {
		t.Errorf("got %q", out)
	}
	for _, b := range []testkit.Browser{ada, phone} {
		_, page := b.Send(http.MethodGet, server.url+"/login", nil)
		if !strings.Contains(page.Find("#notice").Text(), "The operator of this site signed you out") {
			t.Errorf("the page says %q", page.Find("#notice, h1").Text())
		}
	}
	moss.WantConnected(server.url, 0)
	if out := run("end", "--all"); out != "ended 1 session of all users\n" {
		t.Errorf("got %q", out)
	}
	for _, args := range []string{"", "end", "list", "end --user", "end --all --user x", "end all", "delete --all",
		"end --all x", "list --id 1", "end --all --json", "end --id -1", "end --id x", "end --provider strava",
		"end --user-id 0", "end --user-id 1 --id 1"} {
		wantFailure(t, env, "sessions "+args, "see: server help sessions")
	}
	wantFailure(t, env, "sessions end --user nobody@example.org",
		"no user signs in with this e-mail address")
	wantFailure(t, env, "sessions list --provider strava:1",
		"no user signs in with strava:1")
	wantFailure(t, env, "sessions list --user-id 99", "there is no user 99")
	wantFailure(t, env, "sessions end --id 99", "there is no session 99")
}

// What the listing shows is enough to end one session, or the sessions of the person with an account at a provider.
func TestOperatorEndsOneSession(t *testing.T) {
	t.Parallel()
	database := dbtest.NewPatientURL(t)
	env := []string{"PORT=0", "DATA_DIR=" + testkit.DataDir(t), "DATABASE_URL=" + database}
	server := start(t, env...)
	ada, phone := testkit.NewBrowser(t), testkit.NewBrowser(t)
	ada.SignUp(server.url, "ada@example.org")
	phone.SignIn(server.url, "ada@example.org")
	ada.Connect(server.url, "strava", "ada")
	listed := func(whose ...string) []admin.SessionRow {
		t.Helper()
		args := append([]string{"sessions", "list", "--json"}, whose...)
		return readLines[admin.SessionRow](t, commandOutput(t, env, args...))
	}
	rows := listed("--user", "ada@example.org")
	if len(rows) != 2 || rows[0].ID == rows[1].ID ||
		rows[0].Method != "password" || time.Since(rows[0].Created) > time.Hour {
		t.Fatalf("listed %+v", rows)
	}
	kept := slices.IndexFunc(rows, func(r admin.SessionRow) bool { return r.Kept })
	if kept < 0 {
		t.Fatalf("no session is kept: %+v", rows)
	}
	id := strconv.FormatInt(rows[kept].ID, 10)
	if out := commandOutput(t, env, "sessions", "end", "--id", id); out != "ended session "+id+"\n" {
		t.Errorf("it prints %q", out)
	}
	_, page := phone.Send(http.MethodGet, server.url+"/login", nil)
	if !strings.Contains(page.Find("#notice").Text(), "The operator of this site signed you out") {
		t.Errorf("the page says %q", page.Find("#notice, h1").Text())
	}
	ada.WantConnected(server.url, 1)
	subject := testkit.Ask[string](t, database, `SELECT subject FROM cairn.identities WHERE provider = 'strava'`)
	user := strconv.FormatInt(rows[0].UserID, 10)
	for _, whose := range [][]string{{"--provider", "strava:" + subject}, {"--user-id", user}} {
		if rows := listed(whose...); len(rows) != 1 || rows[0].UserID != 1 {
			t.Errorf("%v: listed %+v", whose, rows)
		}
	}
	out := commandOutput(t, env, "sessions", "end", "--provider", "strava:"+subject)
	if out != "ended 1 session of user "+user+"\n" {
		t.Errorf("it prints %q", out)
	}
}
