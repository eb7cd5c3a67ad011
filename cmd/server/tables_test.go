package main

import (
	"go/ast"
	"go/token"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
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
		"internal/activity",   // nothing is fetched for a disabled account: connection.OwnerEnabled says which that is
	},
	"connections": {
		"internal/activity", // what there is to fetch depends on the connection's state
		"internal/node",     // counts those of people who came from the Node server, as in the next three lines
		"internal/sealed",   // seals again what is in sealed columns, which their owners list: sealed.Column
	},
	"identities":  {"internal/node"},
	"passwords":   {"internal/node"},
	"passkeys":    {"internal/node"},
	"withdrawals": {"internal/sealed"},
	"second_factors": {
		"internal/session", // whether a session is recent depends on it
		"internal/sealed",
	},
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
	eachSQL(t, func(folder, literal string) {
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

// SQL names tables with their schema. PostgreSQL would find them without it, but the test above would not.
func TestTablesAreNamedWithTheirSchema(t *testing.T) {
	t.Parallel()
	names := strings.Join(slices.Sorted(maps.Keys(owners)), "|")
	bare := regexp.MustCompile(`\b(?:FROM|JOIN|INTO|UPDATE|USING)\s+(?:ONLY\s+)?"?(` + names + `)[^.\w]`)
	eachLiteral(t, func(file, literal string) {
		for _, match := range bare.FindAllStringSubmatch(literal, -1) {
			t.Errorf("%s names cairn.%s without its schema", file, match[1])
		}
	})
}

// eachSQL calls do for what may be SQL of a package: its string literals, those of other packages' constants that it
// splices into its own, and those of columns that other packages have internal/sealed look after.
func eachSQL(t *testing.T, do func(folder, literal string)) {
	t.Helper()
	constants := allConstants(t)
	eachFile(t, func(name string, file *ast.File) {
		folder, imports := path.Dir(name), importsOf(t, file)
		for _, literal := range literalsIn(file) {
			do(folder, literal)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BinaryExpr:
				for _, operand := range []ast.Expr{n.X, n.Y} {
					for _, literal := range constants.literals(imports.find(operand)) {
						do(folder, literal)
					}
				}
			case *ast.CompositeLit:
				if imports.find(n.Type) == (symbol{"internal/sealed", "Column"}) {
					for _, literal := range literalsIn(n) {
						do("internal/sealed", literal)
					}
				}
			}
			return true
		})
	})
}

// symbol is a name that a package declares.
type symbol struct{ folder, name string }

// imports are the folders of our packages, by the names that a file gives them.
type imports map[string]string

func importsOf(t *testing.T, file *ast.File) imports {
	t.Helper()
	all := imports{}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		name := path.Base(imported)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		if folder, ours := strings.CutPrefix(imported, "cairn/"); ours {
			all[name] = folder
		}
	}
	return all
}

// find returns what an expression names in another of our packages, or of what it is a list; otherwise the zero symbol.
func (i imports) find(e ast.Expr) symbol {
	if list, ok := e.(*ast.ArrayType); ok {
		e = list.Elt
	}
	selector, ok := e.(*ast.SelectorExpr)
	if !ok {
		return symbol{}
	}
	from, ok := selector.X.(*ast.Ident)
	if !ok || i[from.Name] == "" {
		return symbol{}
	}
	return symbol{i[from.Name], selector.Sel.Name}
}

// constants are the values of those that our packages declare.
type constants map[symbol]ast.Expr

func allConstants(t *testing.T) constants {
	t.Helper()
	all := constants{}
	eachFile(t, func(name string, file *ast.File) {
		for _, declaration := range file.Decls {
			group, ok := declaration.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST {
				continue
			}
			for _, spec := range group.Specs {
				spec := spec.(*ast.ValueSpec)
				for i, value := range spec.Values {
					all[symbol{path.Dir(name), spec.Names[i].Name}] = value
				}
			}
		}
	})
	return all
}

// literals returns the string literals in a constant, and in those of its package that it is made of.
func (c constants) literals(of symbol) (all []string) {
	value, ok := c[of]
	if !ok {
		return nil
	}
	ast.Inspect(value, func(n ast.Node) bool {
		if name, ok := n.(*ast.Ident); ok {
			all = append(all, c.literals(symbol{of.folder, name.Name})...)
		}
		return true
	})
	return append(all, literalsIn(value)...)
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
