package config

import (
	"strings"
	"testing"

	"cairn/internal/testkit"
)

func TestMailDefaults(t *testing.T) {
	t.Parallel()
	for site, want := range map[string]string{
		"": `"Cairn" <cairn@localhost>`, "https://cairn.example.org:8443": `"Cairn" <cairn@cairn.example.org>`,
		"http://127.0.0.1:3001": "", "http://[::1]:3001": "",
	} {
		c, err := load(t, map[string]string{"PUBLIC_URL": site, "STRAVA_CLIENT_ID": "s", "STRAVA_CLIENT_SECRET": "ss"})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if c.Mail.From != nil {
			got = c.Mail.From.String()
		}
		if got != want || c.Mail.Server != nil || c.Mail.Operator != "" {
			t.Errorf("%q: %s, %+v", site, got, c.Mail)
		}
	}
}

func TestMailIsRead(t *testing.T) {
	t.Parallel()
	c, err := load(t, map[string]string{
		"SMTP_URL":  "smtps://cairn%40example.org:p%2Fw@mail.example.org:465",
		"MAIL_FROM": "Büro <mail@example.org>", "NOTICE_FROM": "old@example.org",
		"OPERATOR_CONTACT": " help@example.org ",
	})
	if err != nil {
		t.Fatal(err)
	}
	password, _ := c.Mail.Server.User.Password()
	if c.Mail.Server.User.Username() != "cairn@example.org" || password != "p/w" || c.Mail.Server.Port() != "465" ||
		c.Mail.From.Address != "mail@example.org" || c.Mail.Operator != "help@example.org" {
		t.Errorf("%+v", c.Mail)
	}
	c, err = load(t, map[string]string{"NOTICE_FROM": "old@example.org"})
	if err != nil || c.Mail.From.Address != "old@example.org" {
		t.Errorf("NOTICE_FROM: %+v (error %v)", c.Mail, err)
	}
}

func TestMailServers(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"smtp://mail.example.org": "", "smtp://mail.example.org:25?tls=off": "",
		"smtp://u:hunter2@mail.example.org":     "",
		"smtp://u:hunter2@127.0.0.1:25?tls=off": "", "smtp://[::1]:25": "", "smtps://u:hunter2@mail.example.org/": "",
		"mail.example.org:25": "not an address", "https://u:hunter2@mail.example.org": "not an address",
		"smtp://": "not an address", "smtp://u@mail.example.org": "not an address",
		"smtp://:hunter2@mail.example.org":            "not an address",
		"smtp://u:hunter2@mail.example.org/inbox":     "not an address",
		"smtp://u:hunter2@mail.example.org?tls=of":    "not an address",
		"smtps://u:hunter2@mail.example.org?tls=off":  "not an address",
		"smtp://u:hunter2@mail.example.org:x":         "not an address",
		"smtp://u:hunter2#@mail.example.org":          "not an address",
		"smtp://u:hunter2@mail.example.org?tls=off":   "others could read",
		"smtp://u:hunter2@10.0.0.7?tls=off":           "others could read",
		"smtp://u:hunter2%@mail.example.org:587/\x01": "not an address",
	} {
		_, err := load(t, map[string]string{"SMTP_URL": value})
		if err == nil && want != "" || err != nil && (want == "" || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", value, err)
		}
		if err != nil {
			testkit.WantNoSecrets(t, err.Error())
		}
	}
}

func TestMailProblemsNameTheirVariable(t *testing.T) {
	t.Parallel()
	for what, env := range map[string]map[string]string{
		"MAIL_FROM is not":        {"MAIL_FROM": "nobody"},
		"MAIL_FROM is not an":     {"MAIL_FROM": "=?utf-8?q?a=0D=0ABcc:_eve?= <cairn@example.org>"},
		"NOTICE_FROM is not":      {"NOTICE_FROM": "nobody"},
		"MAIL_FROM is required":   {"SMTP_URL": "smtp://localhost", "PUBLIC_URL": "http://127.0.0.1:3001"},
		"OPERATOR_CONTACT is not": {"OPERATOR_CONTACT": strings.Repeat("a", 201)},
		"OPERATOR_CONTACT":        {"OPERATOR_CONTACT": "a\nb"},
	} {
		if _, err := load(t, env); err == nil || !strings.HasPrefix(err.Error(), what) {
			t.Errorf("%v: %v", env, err)
		}
	}
}
