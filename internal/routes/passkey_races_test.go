package routes_test

import (
	"fmt"
	"net/http"
	"testing"

	"cairn/internal/testkit"
)

// An answer is good once, even if two instances get it at the same time.
func TestRacePasskeyAnswerIsUsedOnce(t *testing.T) {
	t.Parallel()
	one := newSite(t)
	sites := [2]site{one, newSiteWith(t, options{pool: one.pool, public: one.url})}
	d := newDevice(one)
	signedUp(t, one, "ada@example.org").addsPasskey(d)
	for round := range testkit.Rounds(t) {
		unlimited(t, one)
		exec(t, one, `DELETE FROM cairn.sessions`)
		b := newBrowser(t, one)
		answered := d.answers(t, b.options("/login/passkey"))
		var all []func()
		var ins [6]bool
		for i := range ins {
			copied := b.stolen()
			all = append(all, func() {
				ins[i] = copied.at(sites[i%2]).post("/login/passkey", "answer", answered).status == http.StatusSeeOther
			})
		}
		together(all...)
		n := 0
		for _, in := range ins {
			if in {
				n++
			}
		}
		if sessions := count(t, one, `SELECT count(*) FROM cairn.sessions`); n != 1 || sessions != 1 {
			t.Fatalf("round %d: %d answers signed in, and %d sessions began, want one", round, n, sessions)
		}
	}
}

// Sign-ins with a passkey that overlap with its removal leave no session.
func TestRaceRemovalEvictsPasskeySignIns(t *testing.T) {
	t.Parallel()
	one := newSite(t)
	sites := [2]site{one, newSiteWith(t, options{pool: one.pool, public: one.url})}
	owner := signedUp(t, one, "ada@example.org")
	for round := range testkit.Rounds(t) {
		unlimited(t, one)
		d := newDevice(one)
		owner.addsPasskey(d)
		remove := fmt.Sprintf("/account/passkeys/%d/remove", count(t, one, `SELECT id FROM cairn.passkeys`))
		intrude := func(i int) func() {
			b := newBrowser(t, sites[i%2])
			answered := d.answers(t, b.options("/login/passkey"))
			return func() { b.post("/login/passkey", "answer", answered) }
		}
		together(intrude(0), intrude(1), func() { owner.post(remove).to("/account#methods") }, intrude(2), intrude(3))
		if n := count(t, one, `SELECT count(*) FROM cairn.sessions WHERE method = 'passkey'`); n != 0 {
			t.Fatalf("round %d: %d sessions of a removed passkey", round, n)
		}
		if !owner.signedIn() {
			t.Fatalf("round %d: the owner is signed out", round)
		}
	}
}

// Of two removals at once, one leaves the other's method.
func TestRaceLastMethodIsAPasskey(t *testing.T) {
	t.Parallel()
	one := newSite(t)
	for round := range testkit.Rounds(t) {
		unlimited(t, one)
		exec(t, one, `DELETE FROM cairn.users`)
		owner := signedUp(t, one, "ada@example.org")
		owner.addsPasskey(newDevice(one))
		remove := fmt.Sprintf("/account/passkeys/%d/remove", count(t, one, `SELECT id FROM cairn.passkeys`))
		other := signedIn(t, one, "ada@example.org", iphone)
		together(func() { owner.post(remove) }, func() { other.post("/account/password/remove") })
		left := `SELECT (SELECT count(*) FROM cairn.passwords) + (SELECT count(*) FROM cairn.passkeys)`
		if n := count(t, one, left); n != 1 {
			t.Fatalf("round %d: %d sign-in methods are left, want one", round, n)
		}
	}
}
