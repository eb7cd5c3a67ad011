package routes_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"cairn/internal/testkit"
)

// An unconfirmed account is allowed, disconnected and signed in with at once, on two instances. Whatever comes first,
// it ends as a sign-in method of its owner, or as nobody's.
func TestRaceUnconfirmedAccounts(t *testing.T) {
	t.Parallel()
	for name, acts := range map[string]struct{ allowed, disconnected, visited bool }{
		"allowed and disconnected":          {allowed: true, disconnected: true},
		"disconnected and signed in with":   {disconnected: true, visited: true},
		"allowed and signed in with":        {allowed: true, visited: true},
		"allowed, disconnected, and signed": {true, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sites := twins(t)
			for round := range testkit.Rounds(t) {
				unlimited(t, sites[0])
				r := race{t: t, sites: sites, round: round, owner: signedUp(t, sites[0], "ada@example.org")}
				r.allow = r.owner.unconfirmed("strava", "ada")
				var all []func()
				if acts.allowed {
					all = append(all, r.allowing(), r.allowing())
				}
				if acts.disconnected {
					all = append(all, r.disconnecting())
				}
				if acts.visited {
					all = append(all, r.visiting(0), r.visiting(1))
				}
				together(all...)
				r.settled(acts.allowed, acts.disconnected)
				exec(t, sites[0], `DELETE FROM cairn.users`)
			}
			if strings.Contains(sites[0].log.String()+sites[1].log.String(), "40P01") {
				t.Error("a deadlock")
			}
		})
	}
}

// race is one round.
type race struct {
	t     *testing.T
	sites [2]site
	round int
	owner browser
	allow string
}

func (r race) answered(act string, a answer) {
	if a.status != http.StatusSeeOther && a.status != http.StatusNotFound {
		r.t.Errorf("round %d: %s was answered %d (%q)", r.round, act, a.status, strings.TrimSpace(a.Find("h1").Text()))
	}
}

// allowing is the owner in a browser of their own: allowing gives a session a new token.
func (r race) allowing() func() {
	b := signedIn(r.t, r.sites[1], "ada@example.org", firefox)
	return func() { r.answered("allowing", b.post(r.allow)) }
}

func (r race) disconnecting() func() {
	return func() { r.answered("disconnecting", r.owner.post("/connections/strava/disconnect")) }
}

// visiting is somebody who owns the account at Strava.
func (r race) visiting(at int) func() {
	b := newBrowser(r.t, r.sites[at])
	callback := b.decide(b.consent("/login/strava"), "ada", "allow")
	return func() { r.answered("signing in", b.get(callback)) }
}

func (r race) settled(allowed, disconnected bool) {
	count := func(sql string) int { return count(r.t, r.sites[0], sql) }
	const owned = ` user_id = (SELECT user_id FROM cairn.passwords)`
	unconfirmed := count(`SELECT count(*) FROM cairn.identities WHERE NOT signs_in`)
	confirmed := count(`SELECT count(*) FROM cairn.identities WHERE signs_in AND` + owned)
	entered := count(`SELECT count(*) FROM cairn.sessions WHERE method = 'strava' AND` + owned)
	users, identities := count(`SELECT count(*) FROM cairn.users`), count(`SELECT count(*) FROM cairn.identities`)
	state := fmt.Sprintf("%d users, %d identities, %d unconfirmed, %d confirmed, %d sessions of the owner with Strava",
		users, identities, unconfirmed, confirmed, entered)
	switch {
	case unconfirmed != 0:
		r.t.Errorf("round %d: it is neither allowed nor gone: %s", r.round, state)
	case entered > 0 && confirmed == 0:
		r.t.Errorf("round %d: it has signed in without being allowed: %s", r.round, state)
	case allowed && !disconnected && confirmed != 1:
		r.t.Errorf("round %d: it is not allowed: %s", r.round, state)
	case identities > 1 || users != 1+identities-confirmed:
		r.t.Errorf("round %d: accounts are left over: %s", r.round, state)
	}
}
