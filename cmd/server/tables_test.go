package main

import (
	"path"
	"regexp"
	"slices"
	"testing"

	"cairn/db/dbtest"
)

// owners says which package's SQL may name a table. Tests, and what only they use, may name every table.
var owners = map[string]string{
	"users": "internal/auth", "emails": "internal/auth", "passwords": "internal/auth", "identities": "internal/auth",
	"browsers": "internal/auth", "rate_limits": "internal/auth", "links": "internal/auth",
	"second_factors": "internal/auth", "recovery_codes": "internal/auth",
	"passkeys": "internal/auth", "passkey_users": "internal/auth", "used_challenges": "internal/auth",
	"account_events": "internal/auth", "messages": "internal/mail",
	"sessions": "internal/session", "ended_sessions": "internal/session",
	"oauth_attempts": "internal/oauth", "budgets": "internal/oauth",
	"connections": "internal/connection", "connection_events": "internal/connection",
	"withdrawals": "internal/connection", "avatars": "internal/connection",
	"latest": "internal/activity", "sync_requests": "internal/activity", "pulls": "internal/activity",
	"instances":  "internal/instance",
	"node_users": "internal/node", "node_connections": "internal/node", "node_imports": "internal/node",
	"node_links": "internal/node", "node_sessions": "internal/node", "node_consents": "internal/node",
	"node_settings": "internal/node", "node_mirrors": "internal/node", "node_refused": "internal/node",
	"node_ended_sessions": "internal/node", "node_deleted": "internal/node",
	"river_job": "internal/jobs", "river_leader": "internal/jobs", "river_queue": "internal/jobs",
	"river_client": "internal/jobs", "river_client_queue": "internal/jobs", "river_migration": "internal/jobs",
	"river_notification": "internal/jobs",
	"goose_db_version":   "db",
	"errands":            "the release before", // a view of sync_requests
	// Foreign keys alone refer to these; a migration adds a row.
	"providers": "db", "sign_in_methods": "db",
}

// guests are the exceptions: one statement does what would take several with a transaction around them.
var guests = map[string][]string{
	"users": {
		"internal/session",    // a lookup of a session brings its user, in one round trip
		"internal/connection", // a change of state locks the owner before the connection, and records it for an owner
	},
	"connections": {
		"internal/activity", // what there is to fetch depends on the connection's state
		"internal/node",     // counts those of people who came from the Node server, as in the next two lines
	},
	"identities":     {"internal/node"},
	"passwords":      {"internal/node"},
	"passkeys":       {"internal/node"},
	"second_factors": {"internal/session"}, // whether a session is recent depends on it
}

// testsAlone are packages that only tests use.
var testsAlone = []string{"internal/bench", "internal/testkit", "internal/testkit/process", "db/dbtest"}

// Only the owner of a table reads and writes it.
func TestTablesHaveOneOwner(t *testing.T) {
	t.Parallel()
	for _, table := range tables(t) {
		if owners[table] == "" {
			t.Errorf("cairn.%s is new: say here who owns it", table)
		}
	}
	named := regexp.MustCompile(`\bcairn\.([a-z][a-z_]*)`)
	used := map[string]bool{}
	eachLiteral(t, func(file, literal string) {
		folder := path.Dir(file)
		if slices.Contains(testsAlone, folder) {
			return
		}
		for _, match := range named.FindAllStringSubmatch(literal, -1) {
			owner, table := owners[match[1]], match[1]
			switch {
			case owner == "":
			case owner == folder, slices.Contains(guests[table], folder):
				used[table+" "+folder] = true
			default:
				t.Errorf("%s names cairn.%s, which is %s's", folder, table, owner)
			}
		}
	})
	for table, folders := range guests {
		for _, folder := range folders {
			if !used[table+" "+folder] {
				t.Errorf("%s doesn't name cairn.%s any more: take it out of the exceptions", folder, table)
			}
		}
	}
}

// tables lists those of the schema.
func tables(t *testing.T) (names []string) {
	t.Helper()
	err := dbtest.New(t).QueryRow(t.Context(), `
		SELECT array_agg(table_name::text) FROM information_schema.tables WHERE table_schema = 'cairn'`).Scan(&names)
	if err != nil {
		t.Fatal(err)
	}
	return names
}
