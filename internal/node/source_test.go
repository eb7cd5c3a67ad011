package node_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"cairn/db/dbtest"
	"cairn/internal/node"
	"cairn/internal/testkit"
)

func TestIncrementalRun(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.insert(person(1), person(2), person(3))
	if done := r.run(node.Run{}); done.Rows != 3 {
		t.Errorf("the first run: %+v", done)
	}
	r.settle()
	r.insert(person(4))
	r.nodeExec(`UPDATE public.users SET strava_oauth_tokens_encrypted = $1 WHERE id = 2`,
		stravaTokens("newer-token", later))
	if done := r.run(node.Run{}); done.Rows < 2 || done.Made != 1 || done.Renewed != 1 {
		t.Errorf("after two changes: %+v", done)
	}
	if done := r.importAll(); done.Rows != 4 {
		t.Errorf("a full run: %+v", done)
	}
	if done, err := r.importer.Import(t.Context(), node.Run{Source: "another"}); err != nil || done.Rows != 4 {
		t.Errorf("the first run on another source: %+v, error %v", done, err)
	}
}

// A running server reads all rows at first, and then those that were written since the import before.
func TestRepeatedImports(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	r.insert(person(1))
	stopped, stop := context.WithCancel(t.Context())
	stop()
	do := r.importer.Repeated(log)
	do(stopped)
	if r.user(1) != 0 || out.Len() > 0 {
		t.Errorf("after a stop user %d is imported, and it logs %s", r.user(1), out.String())
	}
	do(t.Context())
	if r.user(1) == 0 || !strings.Contains(out.String(), "rows=1 made=1") {
		t.Errorf("user %d is imported, and it logs %s", r.user(1), out.String())
	}
	r.insert(person(2))
	testkit.Eventually(t, "transactions of other tests are newer", func() bool {
		return ask[bool](r, `
			SELECT bool_and(xmin::text::bigint < pg_snapshot_xmin(pg_current_snapshot())::text::bigint)
			FROM public.users`)
	})
	r.exec(`UPDATE cairn.node_imports SET seen = pg_snapshot_xmin(pg_current_snapshot())::text::bigint`)
	if do(t.Context()); r.user(2) != 0 {
		t.Error("it has read rows that were not written since")
	}
	if r.importer.Repeated(log)(t.Context()); r.user(2) == 0 {
		t.Error("another server has not read all rows at first")
	}
	if strings.Contains(out.String(), "level=ERROR") {
		t.Errorf("it logs %s", out.String())
	}
}

// A transaction that was open during a run had written rows that the run could not see.
func TestRowOfAnOpenTransaction(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.insert(person(1))
	tx, err := r.from.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	const insert = `INSERT INTO public.users (id, foursquare_user_id) VALUES ($1::int, 'late' || $1::int)`
	_, err = tx.Exec(t.Context(), insert, 2)
	r.must(err)
	r.must(pgx.BeginFunc(t.Context(), tx, func(tx pgx.Tx) error { // a savepoint has a transaction id of its own
		_, err := tx.Exec(t.Context(), insert, 3)
		return err
	}))
	for range 2 {
		r.exec(`SELECT pg_current_xact_id()`) // time goes on
		if done := r.run(node.Run{}); r.user(2)+r.user(3) > 0 || r.user(1) == 0 {
			t.Errorf("before the commit: %+v", done)
		}
	}
	r.must(tx.Commit(t.Context()))
	if done := r.run(node.Run{}); done.Made != 2 || r.user(2) == 0 || r.user(3) == 0 {
		t.Errorf("after the commit: %+v", done)
	}
}

// After a move to another cluster, what was noted says nothing.
func TestTransactionsOfAnotherCluster(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.insert(person(1), person(2))
	r.run(node.Run{})
	for _, seen := range []string{"4000000000000", "NULL", "0"} {
		r.run(node.Run{})
		r.run(node.Run{})
		r.exec(`UPDATE cairn.node_imports SET seen = ` + seen)
		if done := r.run(node.Run{}); done.Rows != 2 || done.Unchanged != 2 {
			t.Errorf("%s: %+v", seen, done)
		}
	}
	r.settle()
}

// settle waits until an import has nothing to look at. Transactions of other tests run on the same cluster, and while
// one of them is older than the last import, rows are looked at again.
func (r rig) settle() {
	r.t.Helper()
	testkit.Eventually(r.t, "an import looks at no row", func() bool { return r.run(node.Run{}).Rows == 0 })
}

func TestTableThatLacksColumns(t *testing.T) {
	t.Parallel()
	r := newRigWithoutTable(t)
	r.exec(`CREATE TABLE public.users (id integer, foursquare_user_id text, strava_oauth_tokens_encrypted text)`)
	r.exec(`INSERT INTO public.users VALUES (1, 'f1', $1), (2, 'f2', NULL), (3, NULL, NULL)`,
		stravaTokens("access-1", later))
	done := r.importAll()
	if done.Made != 2 || len(done.refused) != 1 || done.refused[3] == "" {
		t.Errorf("%+v", done)
	}
	if got := r.connections(r.user(1)) + r.connections(r.user(2)); got != "strava needs_reconnect account_unknown" {
		t.Errorf("connections: %q", got)
	}
}

func TestNoSuchTable(t *testing.T) {
	t.Parallel()
	r := newRigWithoutTable(t)
	const sentence = "this database has no table public.users with the columns id, a number, and foursquare_user_id: " +
		"it is not the Node server's"
	for _, args := range [][]string{{"import"}, {"import", "--dry-run", "--json"}} {
		out, said, err := r.command(args...)
		if err == nil || err.Error() != sentence || out+said != "" {
			t.Errorf("%v: error %v, printed %q", args, err, out+said)
		}
	}
	for _, table := range []string{
		`CREATE TABLE public.users (id serial, name text)`,
		`DROP TABLE public.users; CREATE TABLE public.users (id uuid, foursquare_user_id text)`,
	} {
		r.exec(table)
		if _, err := r.try(node.Run{All: true}); err == nil || err.Error() != sentence {
			t.Errorf("%s: error %v", table, err)
		}
	}
}

func TestFromAnotherDatabase(t *testing.T) {
	t.Parallel()
	r := newRigWithoutTable(t)
	address := dbtest.NewEmptyURL(t)
	r.from = open(t, address)
	r.nodeExec(usersTable)
	p := person(1)
	p.token = sealedWith(address, "FSQ-by-address")
	r.insert(p, person(2))
	out, said, err := r.command("import", "--from", address)
	if err != nil {
		t.Fatalf("error %v, printed %s%s", err, out, said)
	}
	has(t, out, "2 rows read", "2 became accounts", "2 connections to foursquare work", "2 connections to strava work")
	if r.token("foursquare", r.user(1)) != "FSQ-by-address" || r.token("strava", r.user(2)) != "access-2" {
		t.Error("the tokens are others")
	}
	if source := ask[string](r, `SELECT source FROM cairn.node_imports`); strings.Contains(source, "postgres") {
		t.Errorf("the source is noted as %q", source)
	}
	if done := r.importAll(); done.Unchanged != 2 {
		t.Errorf("the second run: %+v", done)
	}
	_, _, err = r.command("import", "--from", "nonsense")
	if err == nil || !strings.HasPrefix(err.Error(), "--from: ") {
		t.Errorf("a wrong address: error %v", err)
	}
}
