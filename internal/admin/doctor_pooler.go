package admin

import (
	"context"
	"fmt"
	"strings"
)

// checkPooler tells what a connection pooler takes away, and what gives it back.
func checkPooler(_ context.Context, e examined) (found []finding) {
	if e.databaseErr != nil {
		return nil
	}
	if e.database.Pooler != "" {
		found = append(found, finding{well, "pooler", fmt.Sprintf("one stands before the database, in %s mode: "+
			"statements are not prepared, and Cairn keeps their time limits itself", e.database.Pooler)})
	}
	if names := e.database.Unlimited; len(names) > 0 {
		found = append(found, finding{warning, "pooler", fmt.Sprintf(
			"PostgreSQL does not know %s outside transactions, "+
				"and so ends no statement of a server that has vanished: as that user, %s",
			strings.Join(names, ", "), alterRole(names))})
	}
	switch {
	case e.config.DirectDatabaseURL == "" && e.database.Pooler != "":
		found = append(found, finding{well, "direct database", "DIRECT_DATABASE_URL is not set: " +
			"migrations go through the pooler, and a job that another server made is noticed within 15 s"})
	case e.config.DirectDatabaseURL == "":
	case e.directErr != nil:
		found = append(found, finding{wrong, "direct database", e.directErr.Error()})
	default:
		found = append(found, finding{well, "direct database", "leads to the same database without a pooler: " +
			"migrations go there, and jobs are noticed at once"})
	}
	return found
}

// alterRole is the SQL that gives PostgreSQL the limits that Cairn keeps.
func alterRole(names []string) string {
	values := map[string]string{
		"statement_timeout": "10s", "lock_timeout": "5s", "idle_in_transaction_session_timeout": "30s",
	}
	statements := make([]string, len(names))
	for i, name := range names {
		statements[i] = fmt.Sprintf("ALTER ROLE CURRENT_USER SET %s = '%s'", name, values[name])
	}
	return strings.Join(statements, "; ")
}
