package routes_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"cairn/internal/auth"
	"cairn/internal/sandbox"
	"cairn/internal/testkit"
)

// allSent waits until no message and no request for one is left.
func allSent(t *testing.T, s site) {
	t.Helper()
	testkit.Eventually(t, "all messages are sent", func() bool {
		return count(t, s, `SELECT (SELECT count(*) FROM cairn.links WHERE sent_at IS NULL)
			+ (SELECT count(*) FROM cairn.messages)`) == 0
	})
}

// messagesAbout returns the messages whose subject contains some words.
func messagesAbout(server *testkit.MailServer, words string) (found []testkit.Mail) {
	for _, m := range server.Messages() {
		if strings.Contains(m.Subject(), words) {
			found = append(found, m)
		}
	}
	return found
}

// The owner of a connection gets one message each time it breaks, however many requests find that out, at once and
// later. Foursquare has no refresh, which only one of them would try.
func TestRaceOneMessagePerBreak(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	second := newSiteWith(t, options{pool: s.pool, mail: server})
	b := joined(t, s, server, "ada@example.org")
	for round := range testkit.Rounds(t) {
		unlimited(t, s)
		b.connect("foursquare", "ada")
		b.get("/connections").want(200, "#card-foursquare[data-state=active]", "")
		grants, err := s.sandbox.Grants(t.Context(), sandbox.Foursquare)
		if err != nil || len(grants) != 1 {
			t.Fatalf("round %d: %d grants, error %v", round, len(grants), err)
		}
		if err := s.sandbox.RevokeGrant(t.Context(), grants[0].ID); err != nil {
			t.Fatal(err)
		}
		check := func(s site) func() { return func() { b.at(s).post("/connections/foursquare/check") } }
		together(check(s), check(second), check(s), check(second))
		check(s)()
		b.get("/connections").want(200, "#card-foursquare[data-state=needs_reconnect]", "")
		allSent(t, s)
		if n := len(messagesAbout(server, "connect Foursquare again")); n != round+1 {
			t.Fatalf("after %d breaks %d messages have come", round+1, n)
		}
	}
}

// Times in a message are in the zone of the account, and in UTC if it has none.
func TestMessagesHaveTheOwnersTime(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	b := joined(t, s, server, "ada@example.org")
	for i, zone := range []string{"", "Asia/Tokyo"} {
		if zone != "" {
			b.post("/account/preferences", "zone", zone, "units", "metric").to("/account#preferences")
		}
		newBrowser(t, s).post("/login", "email", "ada@example.org", "password", password).to("/")
		allSent(t, s)
		all := messagesAbout(server, "New sign-in")
		if len(all) != i+1 {
			t.Fatalf("%d messages about new browsers, want %d", len(all), i+1)
		}
		place, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		said := regexp.MustCompile(`When: (.*) (UTC|JST)\r?\n`).FindStringSubmatch(all[i].Text)
		if said == nil || (said[2] == "JST") != (zone != "") {
			t.Fatalf("zone %q: it says %q in\n%s", zone, said, all[i].Text)
		}
		at, err := time.ParseInLocation("Monday 2 January 2006, 15:04", said[1], place)
		if err != nil || time.Since(at) > time.Hour || time.Since(at) < 0 {
			t.Errorf("zone %q: it says %q, error %v", zone, said[0], err)
		}
	}
}

// The owner of an account gets a message when it is disabled or deleted, which says whether the operator did it.
func TestMessagesAboutTheEndOfAnAccount(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	ada, max := joined(t, s, server, "ada@example.org"), joined(t, s, server, "max@example.org")
	disable(t, s, 1)
	if m := server.WaitFor(t, "ada@example.org", "disabled your account"); !strings.Contains(m.Text, "Hello Ada.") {
		t.Errorf("it says\n%s", m.Text)
	}
	if ada.signedIn() {
		t.Error("the account is not disabled")
	}
	by := s.operate()
	if _, err := by.DeleteByOperator(auth.WithOrigin(t.Context(), auth.Origin{Operator: true}), 1); err != nil {
		t.Fatal(err)
	}
	max.post("/account/delete").to("/account/deleted")
	for email, says := range map[string]string{
		"ada@example.org": "The operator of this site deleted your account",
		"max@example.org": "you’re signed out everywhere",
	} {
		m := server.WaitFor(t, email, "Your account is deleted")
		if !strings.Contains(strings.Join(strings.Fields(m.Text), " "), says) {
			t.Errorf("to %s it says\n%s", email, m.Text)
		}
	}
	allSent(t, s)
}

// A message is tried again until it is sent, is refused for good, has a link that no longer works, or has had its last
// try. Each outcome is observed.
func TestOutcomesOfMessages(t *testing.T) {
	t.Parallel()
	server := testkit.NewMailServer(t)
	var outcomes logBuffer
	s := newSiteWith(t, options{mail: server, works: true, mailed: func(kind, result string) {
		_, _ = fmt.Fprintf(&outcomes, "%s %s\n", kind, result)
	}})
	for name, tt := range map[string]struct {
		code  int
		then  func() // after a try that failed
		final string
	}{
		"sent":     {0, nil, "sent"},
		"refused":  {550, nil, "refused"},
		"later":    {451, func() { server.Answer("RCPT", 0, "", "") }, "sent"},
		"no link":  {451, func() { exec(t, s, `UPDATE cairn.links SET expires_at = now()`) }, "dropped"},
		"last try": {451, func() { exec(t, s, `UPDATE cairn.river_job SET max_attempts = 2`) }, "dropped"},
	} {
		unlimited(t, s)
		exec(t, s, `DELETE FROM cairn.links`)
		outcomes.forget()
		before := len(server.Messages())
		server.Answer("RCPT", tt.code, "", "not now")
		newBrowser(t, s).post("/signup", "email", "ada@example.org", "password", password).
			to("/check-your-mail?for=signup")
		if tt.then != nil {
			testkit.Eventually(t, name+": a try fails", func() bool {
				return strings.HasPrefix(outcomes.String(), "signup failed\n")
			})
			tt.then()
		}
		testkit.Eventually(t, name+": it is "+tt.final, func() bool {
			retryNow(t, s)
			return strings.HasSuffix(outcomes.String(), "signup "+tt.final+"\n")
		})
		allSent(t, s)
		if n := len(server.Messages()) - before; (n == 1) != (tt.final == "sent") || n > 1 {
			t.Errorf("%s: %d messages have come", name, n)
		}
		if tt.then == nil && strings.Contains(outcomes.String(), "failed") {
			t.Errorf("%s: it was tried again:\n%s", name, outcomes.String())
		}
	}
}
