package main

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"cairn/internal/testkit"
)

// nodeWindow lets people from the Node server in by their links, from its front end too.
func nodeWindow() []string {
	return []string{"NODE_LINKS_UNTIL=" + time.Now().AddDate(0, 0, 60).Format(time.DateOnly),
		"FRONTEND_URL=https://www.example.org"}
}

// fromNode shows what people from the Node server see: Ada, who is signed in, and Nora.
func (a auditor) fromNode() {
	ada, nora := strings.Repeat("a", 64), strings.Repeat("b", 64)
	a.execute(`DELETE FROM cairn.rate_limits`,
		`UPDATE cairn.users SET display_name = 'Nora Lind' WHERE id = `+userOf("taken@example.org"),
		giveLink(1, "ada@example.org", ada), giveLink(2, "taken@example.org", nora))
	a.see("account-link", "/account", "#private-link")
	a.see("link-end", "/account/link/end", `form[action="/account/link/end"]`)
	a.see("link-other", "/?token="+nora, `form[action="/link"]`)
	a.submit("/link", "#notice")
	a.audit("home-link")
	a.open("/account", "#sessions")
	a.submit("/logout", `a[href="/login"]`)
	a.see("link", "/?token="+ada, `form[action="/link"]`)
	a.submit("/link", "#notice")
	a.audit("home-link-days")
	a.open("/account", "#sessions")
	a.submit("/logout", `a[href="/login"]`)
	a.see("login-unknown-link", "/?token=unknown", "#notice")
	for _, provider := range []string{"strava", "garmin"} {
		token := strings.ToUpper(provider + strings.Repeat("a", 20))
		a.execute(fmt.Sprintf(`
			INSERT INTO cairn.node_consents (token_hash, user_id, provider, expires_at)
			VALUES ('\x%x', %s, '%s', now() + interval '10 minutes')`,
			sha256.Sum256([]byte(token)), userOf("ada@example.org"), provider))
		a.see("continue-"+provider, "/connect/continue?token="+token, `form[action="/connect/continue"]`)
	}
	a.execute(`DELETE FROM cairn.node_consents`)
	a.see("login-old-request", "/connect/continue", "#notice")
	a.submit("/login", "#days", "email", "ada@example.org", "password", testkit.Password)
}

// userOf is an expression for the id of a user.
func userOf(email string) string {
	return fmt.Sprintf(`(SELECT user_id FROM cairn.passwords WHERE email = '%s')`, email)
}

// giveLink is a statement that makes a user a person of the Node server, with a private link.
func giveLink(nodeID int, email, token string) string {
	return fmt.Sprintf(`INSERT INTO cairn.node_users (node_id, user_id, link_hash) VALUES (%d, %s, '\x%x')`,
		nodeID, userOf(email), sha256.Sum256([]byte(token)))
}
