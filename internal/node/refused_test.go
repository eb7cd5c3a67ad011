package node_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"cairn/db"
	"cairn/internal/admin"
	"cairn/internal/node"
	"cairn/internal/testkit"
)

// command runs server node with these arguments.
func (r rig) command(args ...string) (out, said string, err error) {
	var stdout, stderr bytes.Buffer
	err = node.Command(r.t.Context(), admin.Env{
		Args: args, Environ: r.environ(), Stderr: &stderr, Log: quiet,
	}, &stdout)
	return stdout.String(), stderr.String(), err
}

func (r rig) environ() []string {
	return []string{
		"DATABASE_URL=" + r.url, "DATA_DIR=" + r.t.TempDir(), "NODE_ENCRYPTION_KEY=" + nodeKey,
		"ENCRYPTION_KEY=" + testkit.Key1, "SESSION_SECRET=" + testkit.Secret,
	}
}

// With one connection the import would wait for itself.
func TestImportNeedsTwoConnections(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.insert(person(1))
	r.url += "&pool_max_conns=1"
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := node.Command(ctx, admin.Env{Args: []string{"import"}, Environ: r.environ(), Log: quiet}, io.Discard)
	if err == nil || err.Error() != db.ErrOneConnection.Error() {
		t.Errorf("got %v", err)
	}
	if _, _, err := r.command("import", "--dry-run"); err != nil {
		t.Errorf("a dry run holds no lock: %v", err)
	}
}

// Somebody who is here already keeps the account and its own connection.
func TestExistingUserIsJoined(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ada, err := r.signIn("foursquare", "100001")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.connect(ada, "strava", "55", "own-token"); err != nil {
		t.Fatal(err)
	}
	r.insert(person(1))
	done := r.importAll()
	if r.user(1) != ada || done.Joined != 1 || done.Made != 0 || len(done.Refused) > 0 {
		t.Errorf("row 1 is user %d, and ada %d; %+v", r.user(1), ada, done.Summary)
	}
	has(t, r.connections(ada), "foursquare active imported", "strava active connected")
	if token := r.token("strava", ada); token != "own-token" {
		t.Errorf("Strava's token is %q", token)
	}
	if name := ask[string](r, `SELECT display_name FROM cairn.users WHERE id = $1`, ada); name != "Somebody" {
		t.Errorf("the name is %q now", name)
	}
	r.nodeExec(`UPDATE public.users SET strava_oauth_tokens_encrypted = $1`, stravaTokens("newer-token", later))
	r.importAll()
	if token := r.token("strava", ada); token != "own-token" {
		t.Errorf("after a change there, Strava's token is %q", token)
	}
}

// What somebody disconnected before the first import stays disconnected.
func TestEndedBeforeTheImport(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ada, err := r.signIn("foursquare", "100001")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.connect(ada, "strava", "200001", "own-token"); err != nil {
		t.Fatal(err)
	}
	if err := r.disconnect(ada, "strava"); err != nil {
		t.Fatal(err)
	}
	r.insert(person(1))
	r.importAll()
	if got := r.connections(ada); strings.Contains(got, "strava") {
		t.Errorf("connections: %s", got)
	}
}

func TestRefusedAthletes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	other, err := r.signIn("strava", "200001")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.connect(other, "strava", "200001", "own-token"); err != nil {
		t.Fatal(err)
	}
	shared := person(3)
	shared.athlete = 200002
	r.insert(person(1), person(2), shared, person(4))
	before := ask[string](r, `SELECT c::text FROM cairn.connections c`)

	for _, args := range [][]string{{"import", "--dry-run"}, {"import"}, {"import"}} {
		out, said, err := r.command(args...)
		if err == nil || !strings.Contains(err.Error(), "rows were refused") {
			t.Errorf("%v: error %v", args, err)
		}
		has(t, out, "row 1 is refused: its Strava account belongs to another user here",
			"row 2 is refused: several rows have its Strava account", "row 3 is refused: several rows",
			"1 rows are refused: its Strava account belongs", "2 rows are refused: several rows")
		for _, secret := range []string{"row 4", "Ada", "200001", "200002", "access-", "FOURSQUARE-"} {
			if strings.Contains(out+said, secret) {
				t.Errorf("%v: %q is in:\n%s%s", args, secret, out, said)
			}
		}
	}
	for id := int64(1); id <= 3; id++ {
		want := "foursquare active imported, garmin needs_reconnect account_unknown"
		if got := r.connections(r.user(id)); got != want {
			t.Errorf("row %d: connections: %q", id, got)
		}
	}
	has(t, r.connections(r.user(4)), "strava active imported")
	after := ask[string](r, `SELECT c::text FROM cairn.connections c WHERE user_id = $1`, other)
	if after != before {
		t.Errorf("the other's connection was %s, and is %s", before, after)
	}

	out, said, err := r.command("import", "--json")
	var summary node.Summary
	if json.Unmarshal([]byte(out), &summary) != nil || summary.Rows != 4 || err == nil {
		t.Errorf("--json prints %q, error %v", out, err)
	}
	has(t, said, "row 1 is refused")
}

// Rows of two databases with the same id are of two people.
func TestAnotherDatabasesRow(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.insert(person(1))
	r.importAll()
	before := r.tables("node_imports")
	r.nodeExec(`UPDATE public.users SET foursquare_user_id = 'mallory', secret_token = repeat('ab', 32),
		access_token_encrypted = $1`, sealed("MALLORY-TOKEN"))
	done := r.importAll()
	has(t, done.refused[1], "of another Foursquare account")
	r.same("the row of somebody else", before, "node_imports")
}
