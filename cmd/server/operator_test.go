package main

import (
	"net/http"
	"strings"
	"testing"

	"cairn/db/dbtest"
)

func TestOperatorListsAndEndsSessions(t *testing.T) {
	t.Parallel()
	env := []string{"PORT=0", "DATA_DIR=" + dataDir(t), "DATABASE_URL=" + dbtest.NewURL(t)}
	server := start(t, env...)
	ada, phone, moss := newBrowser(t), newBrowser(t), newBrowser(t)
	ada.signUp(server.url, "ada@example.org")
	phone.signIn(server.url, "ada@example.org")
	moss.signUp(server.url, "moss@example.org")
	run := func(args ...string) string {
		t.Helper()
		out, err := serverCommand(t, append([]string{"sessions"}, args...), env...).Output()
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return string(out)
	}
	for args, lines := range map[string]int{"list --user ADA@example.org": 3, "list --all": 4} {
		out := run(strings.Fields(args)...)
		if n := strings.Count(out, "\n"); n != lines || !strings.Contains(out, "password") {
			t.Errorf("%s: %d lines, want %d:\n%s", args, n, lines, out)
		}
	}
	if out := run("end", "--user", "ada@example.org"); out != "ended 2 sessions\n" {
		t.Errorf("got %q", out)
	}
	for _, b := range []browser{ada, phone} {
		if _, page := b.do(http.MethodGet, server.url+"/login", nil); !strings.Contains(page.Find("#notice").Text(), "The operator of this site signed you out") {
			t.Errorf("the page says %q", page.Find("#notice, h1").Text())
		}
	}
	moss.wantConnected(server.url, 0)
	if out := run("end", "--all"); out != "ended 1 sessions\n" {
		t.Errorf("got %q", out)
	}
	for _, args := range []string{"", "end", "list", "end --user", "end --all --user x", "end all", "delete --all", "end --all x"} {
		wantFailure(t, serverCommand(t, append([]string{"sessions"}, strings.Fields(args)...), env...), "usage: server sessions")
	}
	wantFailure(t, serverCommand(t, []string{"sessions", "end", "--user", "nobody@example.org"}, env...), "nobody signs in with this e-mail address")
}
