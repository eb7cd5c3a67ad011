package main

import (
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

// ofProduction are variables for a server in production. Its database does not answer, unless env names another one.
func ofProduction(env ...string) []string {
	return append([]string{
		"APP_ENV=production", "PUBLIC_URL=https://cairn.invalid", "TRUSTED_PROXIES=none",
		"SESSION_SECRET=" + testkit.Secret, "ENCRYPTION_KEY=" + testkit.Key1,
		"DATABASE_URL=postgres://127.0.0.1:1/cairn",
	}, env...)
}

func TestMailTestSendsOneMessage(t *testing.T) {
	t.Parallel()
	server := &testkit.MailServer{User: "cairn", Password: "hunter2"}
	server.Start(t)
	env := ofProduction("SMTP_URL="+server.URL.String(), "OPERATOR_CONTACT=help@example.org")
	out, said, code := call(t, env, "mail", "test", "ada@example.net")
	testkit.WantNoSecrets(t, out+said)
	if code != 0 || said != "" || !strings.HasPrefix(out, server.URL.Host+" took the message: 250 ") {
		t.Errorf("exit code %d: %s%s", code, out, said)
	}
	got := server.Messages()
	if len(got) != 1 || got[0].To != "ada@example.net" || got[0].From != "cairn@cairn.invalid" ||
		got[0].Link() != "https://cairn.invalid/" || !strings.Contains(got[0].Text, "help@example.org") {
		t.Errorf("%+v", got)
	}
	server.Answer("RCPT", 550, "5.1.1", "no such user")
	wantFailure(t, env, "mail test ada@example.net", "for good: it answered 550 5.1.1 no such user")
	server.Answer("AUTH", 535, "5.7.8", "hunter2 is wrong")
	wantFailure(t, env, "mail test ada@example.net", "signing in (AUTH): it answered 535 5.7.8 … is wrong")
	wantFailure(t, ofProduction(), "mail test ada@example.net", "SMTP_URL is not set")
}

func TestMailTestWantsOneAddress(t *testing.T) {
	t.Parallel()
	server := testkit.NewMailServer(t)
	env := ofProduction("SMTP_URL=" + server.URL.String())
	for _, args := range []string{"mail", "mail send", "mail test", "mail test ada",
		"mail test a@b.example c@d.example", "mail test --now", "mail test a@b.example,c@d.example"} {
		out, said, code := call(t, env, strings.Fields(args)...)
		if code != 2 || !strings.Contains(said, "server help mail") {
			t.Errorf("%s: exit code %d: %s%s", args, code, out, said)
		}
	}
	out, _, code := call(t, env, "mail", "test", "--help")
	if code != 0 || !strings.Contains(out, "Usage: server mail") {
		t.Errorf("help: exit code %d: %s", code, out)
	}
	if n := len(server.Messages()); n != 0 {
		t.Errorf("%d messages", n)
	}
}

func TestDoctorChecksMail(t *testing.T) {
	t.Parallel()
	server := &testkit.MailServer{User: "cairn", Password: "hunter2"}
	server.Start(t)
	database := "DATABASE_URL=" + dbtest.NewPatientURL(t)
	env := ofProduction(database, "SMTP_URL="+server.URL.String())
	_, says := seeDoctor(t, env...)
	testkit.WantFindings(t, says, `ok | mail | 127\.0\.0\.1:\d+ accepts mail from cairn@cairn\.invalid`)
	server.Answer("MAIL", 553, "5.7.1", "not yours")
	_, says = seeDoctor(t, env...)
	testkit.WantFindings(t, says,
		`FAIL | mail | .* failed at naming the sender \(MAIL FROM\): it answered 553 5\.7\.1 not yours`)
	_, says = seeDoctor(t, ofProduction(database)...)
	testkit.WantFindings(t, says, `warn | mail | SMTP_URL is not set, so no mail is sent: people can't reset`)
	_, says = seeDoctor(t, ofProduction(database, "SMTP_URL=hunter2")...)
	testkit.WantFindings(t, says, `FAIL | configuration | SMTP_URL is not an address`)
	if strings.Contains(says, "SMTP_URL is not set") || len(server.Messages()) != 0 {
		t.Errorf("%d messages, and it says:\n%s", len(server.Messages()), says)
	}
}

// A message is not lost if the mail server wants it later and the server is killed meanwhile.
func TestMessageOutlivesItsServer(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	mailServer := testkit.NewMailServer(t)
	mailServer.Answer("RCPT", 451, "4.7.1", "greylisted, try again")
	database := dbtest.NewPatientURL(t)
	env := []string{"DATABASE_URL=" + database, "DATA_DIR=" + testkit.DataDir(t), "PORT=" + testkit.FreePort(t),
		"SMTP_URL=" + mailServer.URL.String()}
	killed := startProcess(t, env...)
	b := testkit.NewBrowser(t)
	status, page := b.Send(http.MethodPost, killed.URL+"/signup",
		url.Values{"email": {"ada@example.org"}, "password": {testkit.Password}})
	if status != http.StatusOK || page.Url.Path != "/check-your-mail" {
		t.Fatalf("a mail server that takes nothing yet: %d %s", status, page.Url)
	}
	testkit.Eventually(t, "a try has failed", func() bool {
		return testkit.Ask[int](t, database, `
			SELECT count(*)::int FROM cairn.river_job WHERE kind = 'message' AND state = 'retryable'`) == 1
	})
	killed.End(syscall.SIGKILL)
	mailServer.Answer("RCPT", 0, "", "")
	server := startProcess(t, env...)
	link := mailServer.WaitFor(t, "ada@example.org", "Confirm your e-mail").Link()
	_, page = b.Send(http.MethodGet, link, nil)
	about := page.Find("main input[name=about]").AttrOr("value", "")
	status, page = b.Send(http.MethodPost, server.URL+"/signup/confirm", url.Values{"about": {about}})
	if status != http.StatusOK || page.Find("header a[href='/account']").Length() == 0 {
		t.Errorf("the link is answered %d: %s", status, page.Find("main").Text())
	}
	if n := len(mailServer.Messages()); n != 1 {
		t.Errorf("%d messages came, want 1", n)
	}
	if log := killed.Logged() + server.Logged(); strings.Contains(log, "ada@example.org") ||
		strings.Contains(log, "token=") {
		t.Error("a log has the address, or the link")
	}
}
