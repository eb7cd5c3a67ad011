package mail

import (
	"context"
	"net"
	"net/mail"
	"net/url"
	"testing"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// host is the name by which tests know their mail server. It is not this machine's, so the rules for others apply.
const host = "mail.example.org"

// toTests connects to a mail server of a test, whatever its name.
type toTests struct{ address string }

func (d toTests) DialContext(ctx context.Context, network, _ string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, d.address)
}

// options returns options for a server at the address of its own, on this machine.
func options(t *testing.T, server *testkit.MailServer) Options {
	t.Helper()
	site, err := url.Parse("https://cairn.example.org")
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		URL: server.URL, From: &mail.Address{Name: "Cairn", Address: "cairn@example.org"}, Site: site,
		Operator: "help@example.org", Timeout: testkit.Patience,
	}
}

// named returns options for a server by its name. Its address loses the port, so that the default holds.
func named(t *testing.T, server *testkit.MailServer) Options {
	t.Helper()
	o := options(t, server)
	u := *server.URL
	o.Dialer, u.Host, o.URL = toTests{u.Host}, host, &u
	return o
}

func newSender(t *testing.T, o Options) *Sender {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// example is a message like one that is sent.
func example() Message {
	return Message{
		ID: "signin.17", To: "nora@example.net", Subject: "New sign-in to Cairn – was it you?",
		Heading: "Was this you?",
		Paragraphs: []string{
			"Someone just signed in to your account from a device we hadn’t seen before.",
			"If it was you, there’s nothing to do.",
		},
		Facts: []Fact{{"Device", "Safari on iPhone"}, {"When", "24 November 2026, 07:51"}},
		Action: &Action{"Check where you’re signed in",
			"https://cairn.example.org/account?a=1&code=S3CRETCODE#where"},
		Why:    "You get this because it’s about the security of your account.",
		Choose: "https://cairn.example.org/account#email",
	}
}
