package routes_test

import (
	"strings"
	"testing"

	"cairn/internal/testkit"
)

// People choose whether they get a message when a connection needs them. The recent activity has it all the same,
// and messages about the security of the account are always sent.
func TestMessagesAreChosen(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	b := joined(t, s, server, "ada@example.org")
	const box = `#email input[name=needs_reconnect]`
	lose := func() {
		t.Helper()
		unlimited(t, s)
		b.connect("strava", "ada").to("/")
		grants, err := s.sandbox.Grants(t.Context(), "strava")
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range grants {
			if err := s.sandbox.RevokeGrant(t.Context(), g.ID); err != nil {
				t.Fatal(err)
			}
		}
		b.post("/connections/strava/check").to("/connections#card-strava")
	}
	b.get("/account").has(box + "[checked]")
	b.post("/account/messages").to("/account#email")
	b.get("/account").want(200, "#email #notice", "Saved").has(box + ":not([checked])")
	lose()
	b.get("/account").want(200, "#activity", "Strava has to be connected")
	intrudes(t, s, server, "ada@example.org")
	testkit.Eventually(t, "all messages are sent", func() bool {
		return count(t, s, `SELECT count(*) FROM cairn.messages`) == 0
	})
	for _, m := range server.Messages() {
		if strings.Contains(m.Subject(), "connect Strava again") {
			t.Error("a message came that the owner does not want")
		}
	}
	b.post("/account/messages", "needs_reconnect", "on", "password_changed", "on").to("/account#email")
	b.get("/account").has(box + "[checked]")
	lose()
	m := server.WaitFor(t, "ada@example.org", "connect Strava again")
	if want := "Choose which messages you get: " + s.url + "/account#email"; !strings.Contains(m.Text, want) {
		t.Errorf("the message has no %q:\n%s", want, m.Text)
	}
}

// There is nothing to choose where no message comes.
func TestMessagesNeedAProvenAddress(t *testing.T) {
	t.Parallel()
	b := signedUp(t, newSite(t), "ada@example.org")
	if b.get("/account").Find("form[action='/account/messages']").Length() != 0 {
		t.Error("the page offers a choice")
	}
}
