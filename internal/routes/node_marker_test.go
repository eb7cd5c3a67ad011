package routes_test

import (
	"net/http"
	"strings"
	"testing"
)

// A table of sessions that was emptied, or is an older copy, signs nobody out, whatever is written there after that.
func TestTableThatIsNotWholeSignsNobodyOut(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(s beside){
		"emptied": func(s beside) { exec(t, s.site, `TRUNCATE public.session`) },
		"a new one": func(s beside) {
			exec(t, s.site, `ALTER TABLE public.session RENAME TO elsewhere`)
			exec(t, s.site, `CREATE TABLE public.session (LIKE public.elsewhere INCLUDING ALL)`)
		},
		"an older copy": func(s beside) {
			exec(t, s.site, `TRUNCATE public.session`)
			exec(t, s.site, `INSERT INTO public.session SELECT * FROM public.copy`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := withWayBack(t)
			s.atBoth(t, 7)
			exec(t, s.site, `CREATE TABLE public.copy AS SELECT * FROM public.session`)
			exec(t, s.site, `UPDATE cairn.node_settings SET marked_at = now() - interval '61 minutes'`)
			s.sweep(t) // changes the marker
			b, out := s.signIn(t, 7), s.signIn(t, 7)
			out.there(s, "/signout", http.StatusOK)
			if out.signedIn() || !b.signedIn() {
				t.Fatal("another marker tells nothing")
			}
			lose(s)
			s.atExpress(t, 8)
			if !b.signedIn() {
				t.Error("signed out before the servers have noticed")
			}
			s.sweep(t)
			if !b.signedIn() {
				t.Error("signed out")
			}
			if n := strings.Count(s.log.String(), "was emptied or replaced"); n != 1 {
				t.Errorf("it is in the log %d times, want once", n)
			}
			// What is written from now on counts, and so does what is written again when it is renewed.
			late := s.signIn(t, 7)
			exec(t, s.site, `UPDATE cairn.sessions SET expiry = now() + interval '2 days'`)
			b.get("/").want(http.StatusOK, "header", "Your account")
			for _, one := range []browser{late, b} {
				one.there(s, "/signout", http.StatusOK)
				if one.signedIn() {
					t.Error("signing out there does not count any more")
				}
			}
		})
	}
}
