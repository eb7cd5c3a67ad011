package routes_test

import (
	"net/http"
	"strings"
	"testing"

	"cairn/internal/testkit"
)

// before is a site as it was before the way back was open.
func before(t *testing.T, s beside) beside {
	t.Helper()
	off := beside{newSiteWith(t, options{pool: s.pool, node: adopting()}), s.express}
	s.sweep(t) // so that what runs now is noted
	return off
}

// A session that began before the way back was open goes on at the other server after the next page.
func TestEarlierSessionsGoOnThere(t *testing.T) {
	t.Parallel()
	s := withWayBack(t)
	s.atBoth(t, 7)
	off := before(t, s)
	for name, begin := range map[string]func() browser{
		"begun here": func() browser { return off.signIn(t, 7) },
		"adopted": func() browser {
			b := off.atExpress(t, 7)
			b.get("/").want(http.StatusOK, "header", "Your account")
			return b
		},
	} {
		b := begin().at(s.site)
		old, lost := b.stolen(), b.stolen()
		if a := b.get("/api/auth/me"); len(a.header.Values("Set-Cookie")) != 0 {
			t.Errorf("%s: data brings a cookie", name)
		}
		lost.get("/").want(http.StatusOK, "header", "Your account")
		b.get("/").want(http.StatusOK, "header", "Your account") // its browser never got the first answer
		if cookieNamed(t, b, "connect.sid").Value != cookieNamed(t, lost, "connect.sid").Value {
			t.Errorf("%s: two cookies", name)
		}
		b.there(s, "/me", http.StatusOK)
		old.there(s, "/me", http.StatusUnauthorized) // an adopted one has another id now
		if a := b.get("/"); strings.Contains(strings.Join(a.header.Values("Set-Cookie"), " "), "connect.sid") {
			t.Errorf("%s: the cookie is set again", name)
		}
		b.post("/logout")
		lost.there(s, "/me", http.StatusUnauthorized)
		if lost.get("/"); lost.signedIn() {
			t.Errorf("%s: signed in after signing out", name)
		}
	}
}

// What was lost there is written again with the next page, and a sign-out there counts again.
func TestLostSessionsAreWrittenThereAgain(t *testing.T) {
	t.Parallel()
	s := withWayBack(t)
	b, _ := s.atBoth(t, 7)
	exec(t, s.site, `TRUNCATE public.session`)
	s.sweep(t)
	b.there(s, "/me", http.StatusUnauthorized)
	b.get("/").want(http.StatusOK, "header", "Your account")
	b.there(s, "/me", http.StatusOK)
	b.there(s, "/signout", http.StatusOK)
	if b.signedIn() {
		t.Error("signing out there does not count")
	}
}

// Overlapping pages of a session that the other server lacks lead to one there, and sign-out ends that.
func TestRaceOverlappingSupplies(t *testing.T) {
	t.Parallel()
	s := withWayBack(t)
	s.atBoth(t, 7)
	off := before(t, s)
	second := newSiteWith(t, options{pool: s.pool, node: wayBack()})
	for round := range testkit.Rounds(t) {
		unlimited(t, s.site)
		b := off.signIn(t, 7).at(s.site)
		all, n := make([]browser, 6), s.sessionsThere(t)
		var requests []func()
		for i := range all {
			all[i] = b.stolen().at([2]site{s.site, second}[i%2])
			requests = append(requests, func() { all[i].get("/account") })
		}
		together(requests...)
		if n = s.sessionsThere(t) - n; n != 1 {
			t.Fatalf("round %d: %d sessions there, want 1", round, n)
		}
		for _, one := range all {
			one.there(s, "/me", http.StatusOK)
		}
		last := b.stolen()
		together(func() { b.post("/logout") }, func() { last.get("/") })
		all[0].there(s, "/me", http.StatusUnauthorized)
	}
}
