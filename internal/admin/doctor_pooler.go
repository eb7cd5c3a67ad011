package admin

import (
	"context"
	"fmt"
	"strings"
)

// checkPooler says what a connection pooler takes away, and how to get it back.
func checkPooler(_ context.Context, e deployment) (found []Finding) {
	if e.databaseErr != nil {
		return nil
	}
	if e.database.Pooler != "" {
		found = append(found, Finding{OK, "pooler", fmt.Sprintf("one stands before the database, in %s mode: "+
			"statements are not prepared, and Cairn keeps their time limits itself", e.database.Pooler)})
	}
	if names := e.database.Unlimited; len(names) > 0 {
		found = append(found, Finding{Warning, "pooler", fmt.Sprintf(
			"PostgreSQL does not know %s outside transactions, "+
				"so it does not end the statements of a server that has vanished: as that user, run %s",
			strings.Join(names, ", "), alterRole(names))})
	}
	switch {
	case e.config.DirectDatabaseURL == "" && e.database.Pooler != "":
		found = append(found, Finding{OK, "direct database", "DIRECT_DATABASE_URL is not set: " +
			"migrations go through the pooler, and a server notices jobs of other servers within 15 s"})
	case e.config.DirectDatabaseURL == "":
	case e.directErr != nil:
		found = append(found, Finding{Failure, "direct database", e.directErr.Error()})
	default:
		found = append(found, Finding{OK, "direct database", "leads to the same database without a pooler: " +
			"migrations use it, and jobs are noticed at once"})
	}
	return found
}

// alterRole returns the SQL that gives PostgreSQL these limits, with Cairn's values.
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
