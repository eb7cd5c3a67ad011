package main

import (
	"net/url"
	"strings"
	"testing"

	"cairn/internal/testkit"
)

// axe-core finds no violation on the pages of a site where people need an invitation.
func TestAccessibleByInvitationInChromium(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	o := newOperated(t, "SIGNUP=invite", "OPERATOR_CONTACT=help@example.org")
	a := auditor{newChromium(t), o.url, o.database, readAxe(t)}
	invite := func(email string) (path string) {
		link, _, _ := strings.Cut(o.accounts("invite "+email), "\n")
		u, err := url.Parse(link)
		if err != nil {
			t.Fatal(err)
		}
		return u.RequestURI()
	}
	a.see("signup-uninvited", "/signup", `main a[href="/login"]`)
	a.see("login-uninvited", "/login", "#email")
	a.submit("/login/strava", "input[name=person]")
	a.allow("moss", "#notice")
	a.audit("login-refused-uninvited")

	a.see("signup-invited", invite("ada@example.org"), "#email[readonly]")
	a.submit("/signup", "#password-error", "password", "short")
	a.audit("signup-invited-error")
	a.submit("/signup", "#card-strava[data-state=none]", "password", testkit.Password)
	o.accounts("disable --user ada@example.org")
	a.open("/login", "#email")
	a.submit("/login", "#form-error", "email", "ada@example.org", "password", testkit.Password)
	a.audit("login-disabled")
	a.see("login-disabled-strava", "/login?notice=disabled-strava", "#notice")

	a.open(invite("eve@example.org"), "#email[readonly]")
	a.execute(`
		WITH eve AS (INSERT INTO cairn.users (display_name) VALUES ('Eve') RETURNING id)
		INSERT INTO cairn.emails (user_id, email, email_key, verified_at)
		SELECT id, 'eve@example.org', 'eve@example.org', now() FROM eve`)
	a.submit("/signup", "#email-error", "password", testkit.Password)
	a.audit("signup-taken")
}
