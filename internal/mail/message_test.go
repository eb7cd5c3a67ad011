package mail

import (
	"errors"
	"net/mail"
	"strings"
	"testing"

	"cairn/internal/testkit"
)

func TestMessageArrivesInBothForms(t *testing.T) {
	t.Parallel()
	server := testkit.NewMailServer(t)
	s := newSender(t, options(t, server))
	m := example()
	for range 2 {
		if err := s.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	all := server.Messages()
	if len(all) != 2 || all[0].From != "cairn@example.org" || all[0].To != m.To || all[0].UTF8 {
		t.Fatalf("%+v", all)
	}
	got := all[0]
	for name, want := range map[string]string{
		"Message-Id": "<signin.17@cairn.example.org>", "From": `"Cairn" <cairn@example.org>`,
		"To":             "<nora@example.net>",
		"Auto-Submitted": "auto-generated", "Mime-Version": "1.0",
	} {
		if value := got.Header.Get(name); value != want {
			t.Errorf("%s is %q instead of %q", name, value, want)
		}
	}
	if again := all[1].Header.Get("Message-Id"); again != got.Header.Get("Message-Id") {
		t.Errorf("the second try has Message-ID %s", again)
	}
	if _, err := got.Header.Date(); err != nil || got.Subject() != m.Subject {
		t.Errorf("Date %v, subject %q", err, got.Subject())
	}
	for name := range got.Header {
		if strings.HasPrefix(name, "X-") || name == "User-Agent" {
			t.Errorf("it has the header %s", name)
		}
	}
	wantForms(t, got, m)
}

// wantForms checks that both forms say all of it, and that HTML loads nothing.
func wantForms(t *testing.T, got testkit.Mail, m Message) {
	t.Helper()
	html := strings.NewReplacer("&#39;", "'", "&amp;", "&", "&#43;", "+").Replace(got.HTML)
	all := append([]string{m.Heading, m.Action.Label, m.Action.URL, m.Why, "cairn.example.org", "help@example.org",
		"Choose which messages you get", m.Choose}, m.Paragraphs...)
	for _, f := range m.Facts {
		all = append(all, f.Name, f.Value)
	}
	for _, want := range all {
		if !strings.Contains(got.Text, want) || !strings.Contains(html, want) {
			t.Errorf("%q is not in both forms:\n%s\n%s", want, got.Text, html)
		}
	}
	for _, remote := range []string{"<img", "<link", "<script", "@import", "url("} {
		if strings.Contains(got.HTML, remote) {
			t.Errorf("it has %s", remote)
		}
	}
	if got.Link() != m.Action.URL {
		t.Errorf("the link is %s", got.Link())
	}
}

func TestMessageNeedsOnlyItsWords(t *testing.T) {
	t.Parallel()
	server := testkit.NewMailServer(t)
	o := options(t, server)
	o.Operator = ""
	m := Message{ID: "1", To: "nora@example.net", Subject: "Hello", Heading: "Hello", Why: "You asked for it."}
	if err := newSender(t, o).Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	want := "Hello\n\nYou asked for it. Sent by cairn.example.org.\n"
	if text := strings.ReplaceAll(server.Messages()[0].Text, "\r\n", "\n"); text != want {
		t.Errorf("text %q", text)
	}
}

func TestHeadersCannotBeInjected(t *testing.T) {
	t.Parallel()
	server := testkit.NewMailServer(t)
	s := newSender(t, options(t, server))
	for _, bad := range []string{"\r\nBcc: eve@example.com", "\nBcc: eve@example.com",
		"\r\n\r\nOther body", "\r", "\x00",
		"\x85", "\u0085"} {
		for field, change := range map[string]func(*Message){
			"ID": func(m *Message) { m.ID += bad }, "To": func(m *Message) { m.To += bad },
			"To, in front": func(m *Message) { m.To = bad + m.To },
			"Subject":      func(m *Message) { m.Subject += bad }, "Heading": func(m *Message) { m.Heading += bad },
			"Why": func(m *Message) { m.Why += bad }, "fact": func(m *Message) { m.Facts[0].Name += bad },
			"label": func(m *Message) { m.Action.Label += bad }, "link": func(m *Message) { m.Action.URL += bad },
		} {
			m := example()
			change(&m)
			if err := s.Send(t.Context(), m); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s with %q: %v", field, bad, err)
			}
		}
		o := options(t, server)
		o.From = &mail.Address{Name: "Cairn" + bad, Address: "cairn@example.org"}
		if _, err := New(o); err == nil {
			t.Errorf("the sender's name may contain %q", bad)
		}
		o.From = &mail.Address{Name: "Cairn", Address: "cairn@example.org" + bad}
		if _, err := New(o); err == nil {
			t.Errorf("the sender's address may contain %q", bad)
		}
	}
	if got := server.Messages(); len(got) != 0 {
		t.Errorf("sent: %+v", got)
	}
}

// A name that someone gave to a device must not look like a part of the message.
func TestForeignWordsStayInTheirLine(t *testing.T) {
	t.Parallel()
	server := testkit.NewMailServer(t)
	m := example()
	m.Facts[0].Value = "My phone\r\n\r\nCall us: \u202e<b>555</b>"
	if err := newSender(t, options(t, server)).Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got := server.Messages()[0]
	if !strings.Contains(got.Text, "Device: My phone Call us: <b>555</b>\r\n") ||
		!strings.Contains(got.HTML, "My phone Call us: &lt;b&gt;555&lt;/b&gt;") {
		t.Errorf("%s\n%s", got.Text, got.HTML)
	}
}

func TestOddMessagesAreRefused(t *testing.T) {
	t.Parallel()
	server := testkit.NewMailServer(t)
	s := newSender(t, options(t, server))
	for what, change := range map[string]func(*Message){
		"two recipients":      func(m *Message) { m.To = "nora@example.net,eve@example.com" },
		"a name":              func(m *Message) { m.To = "Nora <nora@example.net>" },
		"no recipient":        func(m *Message) { m.To = "" },
		"a command":           func(m *Message) { m.To = "nora@example.net> SIZE=1" },
		"a quoted recipient":  func(m *Message) { m.To = `"nora eve"@example.net` },
		"an endless address":  func(m *Message) { m.To = strings.Repeat("n", 250) + "@example.net" },
		"no ID":               func(m *Message) { m.ID = "" },
		"an ID with a host":   func(m *Message) { m.ID = "1@example.com" },
		"no subject":          func(m *Message) { m.Subject = "" },
		"another site":        func(m *Message) { m.Action.URL = "https://example.com/account" },
		"a longer host":       func(m *Message) { m.Action.URL = "https://cairn.example.org.example.com/" },
		"the site as a user":  func(m *Message) { m.Action.URL = "https://cairn.example.org@example.com/" },
		"another port":        func(m *Message) { m.Action.URL = "https://cairn.example.org:8443/" },
		"another scheme":      func(m *Message) { m.Action.URL = "http://cairn.example.org/" },
		"choices elsewhere":   func(m *Message) { m.Choose = "https://example.com/account" },
		"a script":            func(m *Message) { m.Action.URL = "javascript:alert(1)" },
		"a link with a space": func(m *Message) { m.Action.URL = "https://cairn.example.org/ https://example.com" },
	} {
		m := example()
		change(&m)
		if err := s.Send(t.Context(), m); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
