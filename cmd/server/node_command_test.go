package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

// The commands of the change-over are there, and the doctor looks at it.
func TestNodeCommands(t *testing.T) {
	t.Parallel()
	address := dbtest.NewPatientURL(t)
	env := []string{"DATABASE_URL=" + address, "ENCRYPTION_KEY=" + testkit.Key1, "NODE_IMPORT=on"}
	if out := commandOutput(t, env, "node", "status"); !strings.HasPrefix(out, "There is nothing to tell") {
		t.Errorf("without the Node server's tables it prints %q", out)
	}
	code, says := seeDoctor(t, env...)
	testkit.WantFindings(t, says, `FAIL | node import | NODE_IMPORT is on`)
	if code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	testkit.Execute(t, address, `CREATE TABLE public.users (id serial PRIMARY KEY, foursquare_user_id text)`,
		`INSERT INTO public.users (foursquare_user_id) VALUES ('100')`)
	commandOutput(t, env, "node", "import")
	if out := commandOutput(t, env, "node", "status"); !strings.Contains(out, " 1 users at the Node server\n") {
		t.Errorf("it prints %q", out)
	}
	wantFailure(t, env, "node free foursquare 100", "user 1 has it")
	for _, args := range []string{"node", "node free", "node free strava", "node free nobody 7", "node status x"} {
		if _, said, code := call(t, env, strings.Fields(args)...); code != 2 {
			t.Errorf("%s: exit code %d, want 2: %s", args, code, said)
		}
	}
	if commandOutput(t, nil, "node", "free", "--help") != commandOutput(t, nil, "help", "node") {
		t.Error("--help after a verb does not explain the command")
	}
}

// status counts for as long as it takes, also through a pooler, where a statement of a request may not take as long.
func TestNodeStatusThroughAPooler(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	database := dbtest.NewEmptyURL(t)
	pooler := dbtest.NewPooler(t, database, "transaction").URL
	day := time.Now().AddDate(0, 0, 10).Format(time.DateOnly)
	env := []string{"DATABASE_URL=" + database, "DATA_DIR=" + testkit.DataDir(t), "ENCRYPTION_KEY=" + testkit.Key1,
		"NODE_SESSION_SECRET=hunter2hunter2hunter2hunter2hunter2", "NODE_SESSIONS_UNTIL=" + day,
		"NODE_SESSION_TABLE=slow_sessions"}
	commandOutput(t, env, "migrate")
	testkit.Execute(t, database, testkit.NodeUsers,
		`INSERT INTO public.users (foursquare_user_id) SELECT n FROM generate_series(1, 3) n`,
		`CREATE TABLE public.session (sid varchar PRIMARY KEY, sess json NOT NULL, expire timestamp(6) NOT NULL)`,
		`INSERT INTO public.session VALUES ('a', '{"userId":1,"cookie":{}}', now() + interval '2 days')`,
		`CREATE VIEW public.slow_sessions AS SELECT * FROM public.session WHERE pg_sleep(4) IS NOT NULL`)
	for name, address := range map[string]string{"the pooler": pooler, "no pooler": database} {
		env[0] = "DATABASE_URL=" + address + "&statement_timeout=3s"
		commandOutput(t, env, "node", "import")
		out := commandOutput(t, env, "node", "status")
		for _, want := range []string{" 3 users at the Node server\n", " 1 sessions there are alive"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: it prints %q, want %q in it", name, out, want)
			}
		}
	}
}

// A server that keeps the way back open does so through a pooler, and when pgx prepares no statements.
func TestWayBackThroughAPooler(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	for _, name := range []string{"transaction", "none, statements in text"} {
		database := dbtest.NewEmptyURL(t)
		testkit.Execute(t, database, testkit.NodeUsers,
			`INSERT INTO public.users (foursquare_user_id) SELECT n FROM generate_series(1, 3) n`,
			`CREATE TABLE public.session (sid varchar PRIMARY KEY, sess json NOT NULL, expire timestamp(6) NOT NULL)`)
		env := append(behindPooler(t, database)[name], "DATA_DIR="+testkit.DataDir(t), "PORT=0", "NODE_IMPORT=on",
			"NODE_WINDOW=both", "NODE_SESSION_SECRET=hunter2hunter2hunter2hunter2hunter2")
		server := start(t, env...)
		b := testkit.NewBrowser(t)
		b.SignUp(server.url, "ada@example.org")
		testkit.Eventually(t, "people are imported", func() bool {
			return testkit.Ask[int](t, database, `SELECT count(*)::int FROM cairn.node_imports`) == 1
		})
		testkit.Execute(t, database, `UPDATE cairn.node_users SET user_id = (SELECT user_id FROM cairn.passwords)
			WHERE node_id = 1`)
		b.Send(http.MethodGet, server.url+"/", nil)
		if n := testkit.Ask[int](t, database, `SELECT count(*)::int FROM public.session`); n != 2 {
			t.Errorf("%s: %d rows in the table of sessions, want the marker and a session", name, n)
		}
		if out := commandOutput(t, env, "sessions", "end", "--all"); out != "ended 1 session of all users\n" {
			t.Errorf("%s: it prints %q", name, out)
		}
		if code := server.end(); code != 0 {
			t.Errorf("%s: exit code %d", name, code)
		}
		wantQuietLog(t, server)
	}
}
