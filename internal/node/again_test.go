package node_test

import (
	"fmt"
	"testing"

	"cairn/internal/node"
)

// People who were imported: what they end here stays ended, however often the import runs.
func TestEndedStaysEnded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for id := int64(1); id <= 5; id++ {
		r.insert(person(id))
	}
	if done := r.importAll(); done.Made != 5 || len(done.Connected) != 2 {
		t.Fatalf("the first run: %+v", done)
	}
	deleted, disconnected, removed, unlinked, kept := r.user(1), r.user(2), r.user(3), r.user(4), r.user(5)
	r.must(r.deleteAccount(deleted))
	for _, provider := range []string{"strava", "garmin", "foursquare"} {
		r.must(r.disconnect(disconnected, provider))
	}
	r.exec(`INSERT INTO cairn.passwords (user_id, email, email_key, hash)
		VALUES ($1, 'a@b.c', 'a@b.c', '$argon2id$')`, removed)
	r.must(r.remove(removed, "foursquare"))
	r.must(r.disconnect(removed, "strava"))
	r.exec(`UPDATE cairn.node_users SET link_ended_at = now(), link_hash = NULL WHERE user_id = $1`, unlinked)
	before := r.tables("node_imports")

	for run := range 3 {
		// The Node server goes on with them.
		r.nodeExec(`UPDATE public.users SET secret_token = lpad($1 || id, 64, '0') WHERE id <> 5`, fmt.Sprint(run+1))
		for id := int64(1); id <= 3; id++ {
			r.nodeExec(`UPDATE public.users SET access_token_encrypted = $2, strava_oauth_tokens_encrypted = $3,
				garmin_oauth_tokens_encrypted = CASE id WHEN 3 THEN garmin_oauth_tokens_encrypted ELSE $2 END
				WHERE id = $1`, id, sealed("NEWER-TOKEN"), stravaTokens("newer-token", later))
		}
		done := r.importAll()
		if done.Made+done.Joined+done.Renewed+len(done.Refused)+len(done.Connected)+len(done.Reconnect) > 0 ||
			done.Deleted != 1 || done.Unchanged != 2 {
			t.Errorf("run %d: %+v", run, done)
		}
		r.same("the run", before, "node_imports", "node_users")
		wantRow := `(1,,,,,,,)`
		if got := ask[string](r, `SELECT u::text FROM cairn.node_users u WHERE node_id = 1`); got != wantRow {
			t.Errorf("of the deleted account is left: %s", got)
		}
		if n := ask[int](r, `SELECT count(*) FROM cairn.node_connections WHERE node_id = 1`); n != 0 {
			t.Errorf("of the deleted account's connections are left: %d", n)
		}
		if !ask[bool](r, `SELECT link_hash IS NULL FROM cairn.node_users WHERE node_id = 4`) {
			t.Error("the link that was ended is back")
		}
	}
	if got := r.connections(disconnected) + r.connections(removed); got != "garmin needs_reconnect account_unknown" {
		t.Errorf("connections that were ended: %q", got)
	}
	has(t, r.connections(kept), "foursquare active imported", "strava active imported")
	if userID, err := r.signIn("foursquare", "100003"); err != nil || userID == removed {
		t.Errorf("the sign-in method that was removed signs in user %d, error %v", userID, err)
	}
	if userID, err := r.signIn("strava", "200002"); err != nil || userID == disconnected {
		t.Errorf("the account that was disconnected belongs to user %d, error %v", userID, err)
	}
}

// A tombstone comes from every way to end a thing, also from statements by hand.
func TestDeletedByHandStaysDeleted(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.insert(person(1))
	r.importAll()
	r.exec(`DELETE FROM cairn.users`)
	if done := r.importAll(); done.Deleted != 1 || ask[int](r, `SELECT count(*) FROM cairn.users`) != 0 {
		t.Errorf("%+v", done)
	}
}

// Somebody who had connected the same Foursquare account, and deletes the account here before the import comes to the
// row, does not come back.
func TestDeletedBeforeTheImportStaysDeleted(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	early := func(id int64) (userID int64) {
		userID, err := r.signIn("foursquare", fmt.Sprint(100000+id))
		r.must(err)
		return userID
	}
	r.must(r.deleteAccount(early(1)))
	r.insert(person(1), person(2))
	if n := ask[int](r, `SELECT count(*) FROM cairn.node_deleted`); n != 1 {
		t.Fatalf("%d people are noted, want 1", n)
	}
	r.exec(`INSERT INTO cairn.users (display_name) VALUES ('of no Foursquare account')`)
	r.exec(`DELETE FROM cairn.users`)
	dry := r.run(node.Run{All: true, Dry: true})
	again := early(1) // a new account, and the row is still the old one's
	r.exec(`UPDATE cairn.node_settings SET way_back = true`)
	for run := range 3 {
		done := r.importAll()
		if done.Deleted != 1 || done.Made != 1-min(run, 1) || done.Joined != 0 {
			t.Errorf("run %d: %+v", run, done)
		}
	}
	if dry.Deleted != 1 || dry.Made != 1 {
		t.Errorf("the dry run: %+v", dry)
	}
	if got := ask[string](r, `SELECT u::text FROM cairn.node_users u WHERE node_id = 1`); got != `(1,,,,,,,)` {
		t.Errorf("of the deleted account is left: %s", got)
	}
	if n := ask[int](r, `SELECT count(*) FROM cairn.node_deleted`); n != 0 {
		t.Errorf("%d people are noted, want none once the row is known", n)
	}
	left := ask[int](r, `SELECT num_nonnulls(access_token_encrypted, strava_oauth_tokens_encrypted,
		garmin_oauth_tokens_encrypted)::int FROM public.users WHERE id = 1 AND secret_token <> $1`, person(1).link)
	if left != 0 {
		t.Errorf("%d of its tokens are left there", left)
	}
	if got := r.connections(again); got != "" {
		t.Errorf("the new account got connections: %s", got)
	}
}

// Where there is no Node server, nothing is left of somebody who deletes the account.
func TestNothingIsNotedWithoutANodeServer(t *testing.T) {
	t.Parallel()
	r := newRigWithoutTable(t)
	userID, err := r.signIn("foursquare", "100001")
	r.must(err)
	r.must(r.deleteAccount(userID))
	if n := ask[int](r, `SELECT count(*) FROM cairn.node_deleted`); n != 0 {
		t.Errorf("%d people are noted", n)
	}
}

func TestSecondRunChangesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for id := int64(1); id <= 3; id++ {
		r.insert(person(id))
	}
	r.insert(row{id: 4, foursquare: "f4", token: sealedWith(wrongKey, "FSQ"), strava: "null", athlete: 7})
	if first := r.importAll(); first.Empty() {
		t.Errorf("the first run: %+v", first)
	}
	before := r.tables("node_imports")
	second := r.importAll()
	if second.Unchanged != 4 || second.Rows != 4 || !second.Empty() {
		t.Errorf("the second run: %+v", second)
	}
	r.same("the second run", before, "node_imports")
}

func TestChangedLinkIsRemembered(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.insert(person(1), person(2))
	r.importAll()
	const newer = `UPDATE public.users SET secret_token = repeat('ab', 32) WHERE id = 1`
	r.nodeExec(newer)
	r.nodeExec(`UPDATE public.users SET secret_token = NULL WHERE id = 2`)
	if done := r.importAll(); done.Unchanged != 0 {
		t.Errorf("%+v", done)
	}
	if !ask[bool](r, `SELECT link_hash = sha256(repeat('ab', 32)::bytea) FROM cairn.node_users WHERE node_id = 1`) ||
		!ask[bool](r, `SELECT link_hash IS NULL FROM cairn.node_users WHERE node_id = 2`) {
		t.Error("the old links are still known")
	}
}

// Node's tokens renew ours while nobody has touched ours since the import.
func TestRenewal(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	newer := stravaTokens("newer-token", later-1)
	cases := []struct {
		name    string
		between func(userID int64) error // what happened here
		change  row                      // what Node's row has then
		renewed int
		token   string // Strava's afterwards
	}{
		{name: "untouched", change: row{strava: newer}, renewed: 1, token: "newer-token"},
		{name: "nothing new", token: "access-2"},
		{
			name: "refreshed here", change: row{strava: newer}, token: "access-3",
			between: func(userID int64) error {
				r.exec(`UPDATE cairn.connections SET generation = generation + 1 WHERE user_id = $1`, userID)
				return nil
			},
		},
		{
			name: "connected again here", change: row{strava: newer}, token: "own-token",
			between: func(userID int64) error { return r.connect(userID, "strava", "200004", "own-token") },
		},
		{
			name: "disconnected here", change: row{strava: newer}, token: "connection: no such connection",
			between: func(userID int64) error { return r.disconnect(userID, "strava") },
		},
		{
			name: "disconnected and connected here", change: row{strava: newer}, token: "own-token",
			between: func(userID int64) error {
				r.must(r.disconnect(userID, "strava"))
				return r.connect(userID, "strava", "200006", "own-token")
			},
		},
		{name: "cut off", change: row{strava: newer[:60]}, token: "access-7"},
		{name: "wrong key", change: row{strava: sealedWith(wrongKey, "{}")}, token: "access-8"},
		{name: "no token in it", change: row{strava: sealed("null")}, token: "access-9"},
		{name: "emptied there", change: row{strava: ""}, token: "access-10"},
		{name: "another athlete's", change: row{strava: newer, athlete: 66}, token: "access-11"},
		{name: "refused by Strava meanwhile", change: row{strava: newer}, renewed: 1, token: "newer-token",
			between: func(userID int64) error {
				r.exec(`UPDATE cairn.connections SET state = 'needs_reconnect' WHERE user_id = $1`, userID)
				return nil
			},
		},
	}
	for i := range cases {
		r.insert(person(int64(i + 1)))
	}
	r.importAll()
	for i, tt := range cases {
		id := int64(i + 1)
		userID := r.user(id)
		if tt.between != nil {
			r.must(tt.between(userID))
		}
		if tt.change.strava != nil {
			r.nodeExec(`UPDATE public.users SET strava_oauth_tokens_encrypted = $2,
				strava_athlete_id = COALESCE($3, strava_athlete_id) WHERE id = $1`,
				id, tt.change.strava, tt.change.athlete)
		}
		dry := r.run(node.Run{Dry: true})
		for run := range 2 {
			done := r.run(node.Run{})
			want := tt.renewed * (1 - run)
			if done.Renewed != want || len(done.Connected)+len(done.Reconnect)+len(done.Refused) > 0 ||
				run == 0 && dry.Renewed != want {
				t.Errorf("%s: run %d: %+v; dry: %+v", tt.name, run, done.Summary, dry.Summary)
			}
		}
		if token := r.token("strava", userID); token != tt.token {
			t.Errorf("%s: the token is %q", tt.name, token)
		}
	}
}

// A connection that came without usable tokens works once the Node server has some.
func TestUnreadableTokensAreReplaced(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := person(1)
	p.strava = sealedWith(wrongKey, "lost")
	r.insert(p)
	r.importAll()
	has(t, r.connections(r.user(1)), "strava needs_reconnect unreadable")
	r.nodeExec(`UPDATE public.users SET strava_oauth_tokens_encrypted = $1`, stravaTokens("newer-token", later))
	if done := r.importAll(); done.Renewed != 1 {
		t.Errorf("%+v", done)
	}
	has(t, r.connections(r.user(1)), "strava active imported")
	if token := r.token("strava", r.user(1)); token != "newer-token" {
		t.Errorf("the token is %q", token)
	}
	if n := ask[int](r, `SELECT count(*) FROM cairn.connection_events WHERE provider = 'strava'`); n != 2 {
		t.Errorf("the history has %d events", n)
	}
}

// An account that could not be named gives way to the one that is connected, and does not come back.
func TestUnknownAccountGivesWay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.insert(person(1))
	r.importAll()
	userID := r.user(1)
	r.must(r.connect(userID, "garmin", "garmin-user", "own-token"))
	r.nodeExec(`UPDATE public.users SET garmin_oauth_tokens_encrypted = $1`, sealed("NEWER"))
	r.importAll()
	if token := r.token("garmin", userID); token != "own-token" {
		t.Errorf("the token is %q", token)
	}
	if n := ask[int](r, `SELECT count(*) FROM cairn.identities WHERE provider = 'garmin'`); n != 1 {
		t.Errorf("%d accounts at Garmin", n)
	}
}
