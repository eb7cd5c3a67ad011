package node_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"cairn/db"
	"cairn/internal/auth"
	"cairn/internal/node"
	"cairn/internal/testkit"
)

// One process imports at a time, and a dry run may look on.
func TestOneImportAtATime(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	second := r
	second.pool = open(t, r.url)
	second.from = second.pool
	second.importer = second.importerWith(node.Deps{})
	r.insert(person(1), person(2))
	overlapped := false
	done := r.run(node.Run{All: true, Progress: func(int, int) {
		overlapped = true
		if _, err := second.try(node.Run{All: true}); !errors.Is(err, db.ErrLocked) {
			t.Errorf("the second import: error %v", err)
		}
		if dry := second.run(node.Run{All: true, Dry: true}); dry.Unchanged != 2 {
			t.Errorf("the dry run: %+v", dry)
		}
		if out, _, err := r.command("import"); err == nil || out != "" ||
			!strings.HasPrefix(err.Error(), "another import is running: ") {
			t.Errorf("the command: error %v, printed %q", err, out)
		}
	}})
	if !overlapped || done.Made != 2 {
		t.Errorf("the first import: %+v", done)
	}
	if after := second.importAll(); after.Unchanged != 2 {
		t.Errorf("afterwards: %+v", after)
	}
}

// People go on while the import runs: they sign in, disconnect, and delete their accounts.
func TestRaceImportBesidePeople(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for round := range testkit.Rounds(t) {
		r.besidePeople(int64(10*round + 1))
	}
}

func (r rig) besidePeople(first int64) {
	r.t.Helper()
	newcomer, leaver, disconnects, deletes, removes := first, first+1, first+2, first+3, first+4
	for _, id := range []int64{disconnects, deletes, removes} {
		r.insert(person(id))
	}
	r.importAll()
	disconnecting, deleting, removing := r.user(disconnects), r.user(deletes), r.user(removes)
	leaving, err := r.signIn("foursquare", fmt.Sprint(100_000+leaver)) // is here before the import
	r.must(err)
	r.must(r.connect(removing, "strava", fmt.Sprint(200_000+removes), "own-token"))
	r.nodeExec(`UPDATE public.users SET strava_oauth_tokens_encrypted = $2 WHERE id >= $1`, first,
		stravaTokens("newer-token", later))
	r.insert(person(newcomer), person(leaver))

	var signedIn int64
	acts := []func() error{
		func() error { _, err := r.try(node.Run{All: true}); return err },
		func() (err error) { signedIn, err = r.signIn("foursquare", fmt.Sprint(100_000+newcomer)); return err },
		func() error { return r.deleteAccount(leaving) },
		func() error { return r.disconnect(disconnecting, "strava") },
		func() error { return r.deleteAccount(deleting) },
		func() error { return r.remove(removing, "foursquare") },
	}
	var all sync.WaitGroup
	errs := make([]error, len(acts))
	for i, act := range acts {
		all.Go(func() {
			testkit.AtRandom(40 * time.Millisecond)
			errs[i] = act()
		})
	}
	all.Wait()
	for i, err := range errs {
		if err != nil {
			r.t.Errorf("act %d: %v", i, err)
		}
	}

	r.importAll()
	if got := r.user(newcomer); got != signedIn {
		r.t.Errorf("who signed in is user %d, and the row user %d", signedIn, got)
	}
	if id := r.user(leaver); id != 0 {
		r.t.Errorf("user %d was deleted, and the row's user is %d", leaving, id)
	}
	if got := r.connections(disconnecting); strings.Contains(got, "strava") {
		r.t.Errorf("after disconnecting: %q", got)
	}
	if id := r.user(deletes); id != 0 {
		r.t.Errorf("the deleted account is back as user %d", id)
	}
	if got := r.connections(removing); strings.Contains(got, "foursquare") {
		r.t.Errorf("after removing Foursquare: %q", got)
	}
	for _, id := range []int64{newcomer, leaver, disconnects, deletes, removes} {
		n := ask[int](r, `SELECT count(*) FROM cairn.identities WHERE subject IN ($1, $2)`,
			fmt.Sprint(100_000+id), fmt.Sprint(200_000+id))
		if n > 2 || (id == deletes || id == leaver) && n > 0 {
			r.t.Errorf("row %d: %d accounts at Foursquare and Strava", id, n)
		}
	}
}

// Somebody is found by the import, and deletes the account before the import has it: nothing comes of the row. Who only
// removes Foursquare comes back by it, with another account.
func TestRaceAccountGoesWhileItIsFound(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for name, end := range map[string]string{
		"deleted":             `DELETE FROM cairn.users WHERE id = $1`,
		"lost its Foursquare": `DELETE FROM cairn.identities WHERE user_id = $1`,
	} {
		id := int64(len(name))
		leaving, err := r.signIn("foursquare", fmt.Sprint(100_000+id))
		r.must(err)
		r.insert(person(id))
		tx, err := r.pool.Begin(t.Context())
		r.must(err)
		_, err = tx.Exec(t.Context(), `SELECT FROM cairn.users WHERE id = $1 FOR UPDATE`, leaving)
		r.must(err)
		result := make(chan error, 1)
		go func() { _, err := r.try(node.Run{All: true}); result <- err }()
		testkit.Eventually(t, "the import waits for the user", func() bool {
			return ask[bool](r, `SELECT EXISTS (SELECT FROM pg_stat_activity
				WHERE datname = current_database() AND wait_event_type = 'Lock')`)
		})
		_, err = tx.Exec(t.Context(), end, leaving)
		r.must(err)
		r.must(tx.Commit(t.Context()))
		if err := <-result; err != nil {
			t.Errorf("%s: %v", name, err)
		}
		row := r.user(id)
		who, err := r.signIn("foursquare", fmt.Sprint(100_000+id))
		if err != nil || who == leaving || (who == row) == (name == "deleted") || (row == 0) != (name == "deleted") {
			t.Errorf("%s: user %d was %d, and signs in as %d, error %v", name, row, leaving, who, err)
		}
	}
}

// A person who signs in for the first time while the import makes the account has one account.
func TestRaceSignInWhileTheAccountIsMade(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.insert(person(1))
	release := testkit.Lock(t, r.url, "cairn.node_users", "SHARE") // the import has made the user, and stops
	result := make(chan error, 1)
	go func() { _, err := r.try(node.Run{All: true}); result <- err }()
	waiting := func(n int) func() bool {
		return func() bool {
			return n == ask[int](r, `SELECT count(*) FROM pg_stat_activity
				WHERE datname = current_database() AND wait_event_type = 'Lock'`)
		}
	}
	testkit.Eventually(t, "the import waits", waiting(1))
	var who int64
	signedIn := make(chan error, 1)
	go func() { var err error; who, err = r.signIn("foursquare", "100001"); signedIn <- err }()
	testkit.Eventually(t, "the sign-in waits", waiting(2))
	release()
	r.must(errors.Join(<-result, <-signedIn))
	if who != r.user(1) {
		t.Errorf("user %d has signed in, and user %d was imported", who, r.user(1))
	}
	if _, err := r.signIn("strava", "200001"); !errors.Is(err, auth.ErrUnconfirmed) {
		t.Errorf("Strava: error %v", err)
	}
}
