package main

import (
	"strings"
	"testing"

	"cairn/db/dbtest"
)

func TestDoctorTellsThePooler(t *testing.T) {
	t.Parallel()
	database := dbtest.NewURL(t)
	for _, mode := range []string{"transaction", "session"} {
		env := []string{"DATA_DIR=" + dataDir(t), "DATABASE_URL=" + dbtest.NewPooler(t, database, mode).URL}
		_, says := seeDoctor(t, env...)
		wantFindings(t, says,
			`ok | pooler | one stands before the database, in `+mode+` mode`,
			`warn | pooler | .*ALTER ROLE CURRENT_USER SET idle_in_transaction_session_timeout = '30s'`,
			`ok | direct database | DIRECT_DATABASE_URL is not set`)
		code, says := seeDoctor(t, append(env, "DIRECT_DATABASE_URL="+database)...)
		wantFindings(t, says, `ok | direct database | leads to the same database without a pooler`)
		if code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
}

// A way around the pooler that leads elsewhere, or through one, is said, and a server does not start with it.
func TestDirectDatabaseMustBeThatDatabase(t *testing.T) {
	t.Parallel()
	database := dbtest.NewURL(t)
	pooler := dbtest.NewPooler(t, database, "transaction").URL
	for direct, want := range map[string]string{
		dbtest.NewURL(t): "leads to another database",
		pooler:           "leads to a connection pooler",
	} {
		env := []string{"DATA_DIR=" + dataDir(t), "PORT=0", "DATABASE_URL=" + pooler, "DIRECT_DATABASE_URL=" + direct}
		code, says := seeDoctor(t, env...)
		wantFindings(t, says, `FAIL | direct database | .*`+want)
		if code != 1 {
			t.Errorf("exit code %d", code)
		}
		out, err := serverCommand(t, nil, env...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("the server ended with %v: %s", err, out)
		}
	}
}
