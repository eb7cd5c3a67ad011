package node_test

import (
	"strings"
	"testing"

	"cairn/internal/testkit"
)

// Strava's account 2001 was claimed by the person of row 1.
const claimed = `SELECT count(*)::int FROM cairn.identities WHERE provider = 'strava' AND subject = '2001'`

func TestFreeAnAccount(t *testing.T) {
	t.Parallel()
	at := newStatusAt(t, statusPerson(1, "", statusSealed(t, statusStrava), ""))
	at.must("import")
	if out := at.must("free strava 2001"); !strings.Contains(out, "freed strava 2001, which user 1 had") {
		t.Errorf("it says %q", out)
	}
	at.must("import")
	for what, query := range map[string]string{
		"identities":  claimed,
		"connections": `SELECT count(*)::int FROM cairn.connections`,
	} {
		if n := testkit.Ask[int](t, at.url, query); n != 0 {
			t.Errorf("%d %s are left, or were imported again", n, what)
		}
	}
	if n := testkit.Ask[int](t, at.url, `SELECT count(*)::int FROM cairn.withdrawals WHERE subject = '2001'`); n != 1 {
		t.Errorf("%d revocations, want 1: the tokens are at the Node server, too", n)
	}
	if n := testkit.Ask[int](t, at.url, `SELECT count(*)::int FROM cairn.identities WHERE signs_in`); n != 1 {
		t.Errorf("%d sign-in methods, want 1", n)
	}
	_, err := at.command("free strava 2001")
	if err == nil || !strings.Contains(err.Error(), "nobody has this account") {
		t.Errorf("a second time: error %v", err)
	}
}

func TestFreeLeavesSignInMethodsAlone(t *testing.T) {
	t.Parallel()
	at := newStatusAt(t, statusPerson(1, "", statusSealed(t, statusStrava), ""))
	at.must("import")
	at.execute(`UPDATE cairn.identities SET signs_in = true`)
	for args, want := range map[string]string{
		"strava 2001":     "user 1 has it: its user has signed in with it",
		"foursquare 1001": "user 1 has it: its user has signed in with it",
		"strava 1001":     "nobody has this account",
		"twitter 2001":    `there is no provider "twitter"`,
		"strava":          "expected PROVIDER SUBJECT",
		"strava 2001 x":   "expected PROVIDER SUBJECT",
	} {
		out, err := at.command("free " + args)
		if err == nil || !strings.Contains(err.Error(), want) || out != "" {
			t.Errorf("%s: %q, error %v, want %q", args, out, err, want)
		}
	}
	if n := testkit.Ask[int](t, at.url, claimed); n != 1 {
		t.Errorf("%d identities, want 1", n)
	}
	if n := testkit.Ask[int](t, at.url, `SELECT count(*)::int FROM cairn.connections`); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}
