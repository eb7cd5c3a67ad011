package node_test

import (
	"reflect"
	"testing"

	"cairn/internal/node"
)

// A dry run says what the real one then does, and writes nothing. Neither writes to the Node server's tables.
func TestDryRun(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if _, err := r.signIn("foursquare", "100001"); err != nil {
		t.Fatal(err)
	}
	other, err := r.signIn("strava", "200002")
	if err != nil {
		t.Fatal(err)
	}
	r.must(r.connect(other, "strava", "200002", "own-token"))
	for id := int64(1); id <= 9; id++ {
		r.insert(person(id))
	}
	r.importAll()
	r.must(r.deleteAccount(r.user(3)))
	r.must(r.disconnect(r.user(4), "strava"))
	r.nodeExec(`UPDATE public.users SET strava_oauth_tokens_encrypted = $1 WHERE id IN (4, 5)`,
		stravaTokens("newer-token", later))
	r.nodeExec(`UPDATE public.users SET secret_token = NULL WHERE id = 6`)
	late, shared := person(11), person(12)
	late.athlete, late.token, shared.athlete = 200002, sealedWith(wrongKey, "FSQ"), 200009
	r.insert(person(10), late, shared, row{id: 13, foursquare: ""})

	r.exec(`CREATE FUNCTION public.written() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN RAISE 'public.% is written', TG_TABLE_NAME; END $$`)
	r.exec(`CREATE TRIGGER written BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON public.users
		EXECUTE FUNCTION public.written()`)
	before := r.tables()
	dry := r.run(node.Run{All: true, Dry: true})
	r.same("the dry run", before)
	real := r.importAll()
	if !reflect.DeepEqual(dry, real) {
		t.Errorf("the dry run says\n%+v, and the real one\n%+v", dry, real)
	}
	if real.Made != 3 || real.Deleted != 1 || real.Renewed != 1 || len(real.refused) != 4 || real.Unchanged != 5 {
		t.Errorf("the real run: %+v", real)
	}
	if _, err := r.from.Exec(t.Context(), `UPDATE public.users SET id = id WHERE false`); err == nil {
		t.Error("the trigger does not notice writing")
	}
}

// A first run that is dry counts the same, too.
func TestDryFirstRun(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	shared := person(3)
	shared.athlete = 200002
	r.insert(person(1), person(2), shared)
	if _, err := r.signIn("foursquare", "100001"); err != nil {
		t.Fatal(err)
	}
	before := r.tables()
	dry := r.run(node.Run{All: true, Dry: true})
	r.same("the dry run", before)
	if real := r.importAll(); !reflect.DeepEqual(dry, real) || real.Joined != 1 || real.Made != 2 {
		t.Errorf("the dry run says\n%+v, and the real one\n%+v", dry, real)
	}
}
