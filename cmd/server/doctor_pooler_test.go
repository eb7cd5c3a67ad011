package main

import (
	"testing"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

// A way around the pooler that leads elsewhere, or through one, is said, and a server does not start with it.
func TestDirectDatabaseMustBeThatDatabase(t *testing.T) {
	t.Parallel()
	database := dbtest.NewURL(t)
	pooler := dbtest.NewPooler(t, database, "transaction").URL
	for direct, want := range map[string]string{
		dbtest.NewURL(t): "leads to another database",
		pooler:           "leads to a connection pooler",
	} {
		env := []string{"PORT=0", "DATABASE_URL=" + pooler, "DIRECT_DATABASE_URL=" + direct}
		code, says := seeDoctor(t, env...)
		testkit.WantFindings(t, says, `FAIL | direct database | .*`+want)
		if code != 1 {
			t.Errorf("exit code %d", code)
		}
		wantFailure(t, env, "", want)
	}
}
