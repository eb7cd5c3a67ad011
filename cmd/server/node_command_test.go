package main

import (
	"strings"
	"testing"

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
