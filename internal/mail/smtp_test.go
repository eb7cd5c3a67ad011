package mail

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"cairn/internal/testkit"
)

// secured returns a server that offers STARTTLS, or speaks TLS from the start, and options that trust it by its name.
func secured(t *testing.T, implicit bool) (*testkit.MailServer, Options) {
	t.Helper()
	certificate, roots := testkit.Certificate(t, host)
	server := &testkit.MailServer{TLS: certificate, Implicit: implicit, User: "cairn", Password: "hunter2"}
	server.Start(t)
	o := named(t, server)
	o.RootCAs = roots
	return server, o
}

// wantError checks an error, and that it can be logged.
func wantError(t *testing.T, err error, refused bool, text string) {
	t.Helper()
	if err == nil || errors.Is(err, ErrRefused) != refused || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v; want %q, refused %v", err, text, refused)
		return
	}
	m := example()
	for _, secret := range []string{"hunter2", m.To, "S3CRETCODE", m.Subject, m.Paragraphs[0], m.Facts[0].Value} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error %q contains %q", err, secret)
		}
	}
	if strings.ContainsAny(err.Error(), "\r\n") || len(err.Error()) > 500 {
		t.Errorf("the error is not one short line: %q", err)
	}
}

func TestSendEncryptsAndSignsIn(t *testing.T) {
	t.Parallel()
	for name, implicit := range map[string]bool{"STARTTLS": false, "TLS from the start": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, o := secured(t, implicit)
			answer, err := newSender(t, o).Submit(t.Context(), example())
			if err != nil || !strings.HasPrefix(answer, "250 ") {
				t.Fatalf("answer %q, error %v", answer, err)
			}
			if got := server.Messages(); len(got) != 1 || server.SignIns() != 1 || !got[0].TLS {
				t.Errorf("%d sign-ins, %+v", server.SignIns(), got)
			}
			if err := newSender(t, o).Check(t.Context()); err != nil || len(server.Messages()) != 1 {
				t.Errorf("check: %v, %d messages", err, len(server.Messages()))
			}
		})
	}
}

func TestWrongPasswordIsForTheOperator(t *testing.T) {
	t.Parallel()
	server, o := secured(t, false)
	o.URL.User = url.UserPassword("cairn", "hunter2hunter2")
	s := newSender(t, o)
	wantError(t, s.Send(t.Context(), example()), false, "signing in (AUTH): it answered 535")
	wantError(t, s.Check(t.Context()), false, "signing in (AUTH): it answered 535")
	o.URL.User = nil
	wantError(t, newSender(t, o).Send(t.Context(), example()), false, "naming the sender (MAIL FROM): it answered 502")
	if got := server.Messages(); len(got) != 0 || server.SignIns() != 0 {
		t.Errorf("%d sign-ins, %+v", server.SignIns(), got)
	}
}

// Someone in between can leave out the server's offer of TLS, or show a certificate of their own.
func TestNothingIsSentWithoutTrustedTLS(t *testing.T) {
	t.Parallel()
	ofAnother, rootsOfAnother := testkit.Certificate(t, "mail.example.com")
	ours, _ := testkit.Certificate(t, host)
	for name, tt := range map[string]struct {
		server *testkit.MailServer
		want   string
	}{
		"no STARTTLS":               {&testkit.MailServer{}, "it offers no TLS"},
		"another name":              {&testkit.MailServer{TLS: ofAnother}, "for mail.example.com"},
		"name, from the start":      {&testkit.MailServer{TLS: ofAnother, Implicit: true}, "for mail.example.com"},
		"unknown authority":         {&testkit.MailServer{TLS: ours}, "unknown authority"},
		"authority, from the start": {&testkit.MailServer{TLS: ours, Implicit: true}, "unknown authority"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := tt.server
			server.User, server.Password = "cairn", "hunter2"
			server.Start(t)
			o := named(t, server)
			o.RootCAs = rootsOfAnother
			s := newSender(t, o)
			wantError(t, s.Send(t.Context(), example()), false, "starting TLS")
			wantError(t, s.Check(t.Context()), false, tt.want)
			if len(server.Messages()) != 0 || server.SignIns() != 0 {
				t.Errorf("%d sign-ins, %d messages", server.SignIns(), len(server.Messages()))
			}
		})
	}
}

func TestTLSCanBeTurnedOffWithoutPassword(t *testing.T) {
	t.Parallel()
	server := testkit.NewMailServer(t)
	o := named(t, server)
	o.URL.RawQuery = "tls=off"
	if err := newSender(t, o).Send(t.Context(), example()); err != nil {
		t.Fatal(err)
	}
	signsIn := &testkit.MailServer{User: "cairn", Password: "hunter2"}
	signsIn.Start(t)
	o = named(t, signsIn)
	o.URL.RawQuery = "tls=off"
	wantError(t, newSender(t, o).Send(t.Context(), example()), false, "signing in (AUTH): it offers no TLS")
	if err := newSender(t, options(t, signsIn)).Send(t.Context(), example()); err != nil || signsIn.SignIns() != 1 {
		t.Errorf("on this machine: error %v, %d sign-ins", err, signsIn.SignIns())
	}
}

func TestAnswersOfTheServer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		command      string
		code         int
		status, text string
		refused      bool
		want         string
	}{
		{"RCPT", 550, "5.1.1", "<nora@example.net>: no such user", true, "it answered 550 5.1.1 <…>: no such user"},
		{"RCPT", 550, "", "no such user", true, "it answered 550 no such user"},
		{"RCPT", 552, "5.2.2", "mailbox full", true, "RCPT TO"},
		{"RCPT", 450, "4.2.0", "greylisted, come back in 5 minutes", false, "450 4.2.0 greylisted"},
		{"RCPT", 554, "5.7.1", "relay access denied", false, "554 5.7.1 relay access denied"},
		{"RCPT", 550, "5.1.8", "bad sender's system", false, "5.1.8"},
		{"RCPT", 530, "", "authenticate first", false, "530"},
		{"MAIL", 550, "5.1.0", "sender refused", false, "MAIL FROM"},
		{"MAIL", 451, "4.3.0", "later", false, "451 4.3.0 later"},
		{"AUTH", 454, "4.7.0", "later, hunter2", false, "454 4.7.0 later, …"},
		{"DATA", 554, "5.6.0", "no: Was this you? http://cairn.example.org/S3CRETCODE", true, "554 5.6.0 no: … …"},
		{"DATA", 554, "", "no: New sign-in to Cairn – was it you?", true, "DATA"},
		{"DATA", 552, "5.3.4", "too large", true, "5.3.4"},
		{"DATA", 550, "5.7.26", "unauthenticated sender", false, "5.7.26"},
		{"DATA", 451, "4.3.0", "later", false, "451 4.3.0 later"},
		{"DATA", 554, "5.6.0", strings.Repeat("no ", 1000), true, "5.6.0"},
	} {
		server := &testkit.MailServer{User: "cairn", Password: "hunter2"}
		server.Start(t)
		server.Answer(tt.command, tt.code, tt.status, tt.text)
		s := newSender(t, options(t, server))
		wantError(t, s.Send(t.Context(), example()), tt.refused, tt.want)
		if len(server.Messages()) != 0 {
			t.Errorf("%+v: the message arrived", tt)
		}
		server.Answer(tt.command, 0, "", "")
		if err := s.Send(t.Context(), example()); err != nil || len(server.Messages()) != 1 {
			t.Errorf("%+v: the next try: %v", tt, err)
		}
	}
}

func TestCheckNamesTheStep(t *testing.T) {
	t.Parallel()
	server := testkit.NewMailServer(t)
	server.Answer("MAIL", 553, "5.7.1", "not your address")
	s := newSender(t, options(t, server))
	wantError(t, s.Check(t.Context()), false, "naming the sender (MAIL FROM): it answered 553 5.7.1 not your address")
	o := options(t, server)
	o.URL = &url.URL{Scheme: "smtp", Host: "127.0.0.1:" + testkit.FreePort(t)}
	wantError(t, newSender(t, o).Check(t.Context()), false, "failed at connecting: ")
}

// hangingLimit is long enough for a busy machine to reach the point at which a server hangs.
const hangingLimit = 3 * time.Second

// wantLate checks that a server hung, and that the error names the step.
func wantLate(t *testing.T, server *testkit.MailServer, err error, step string) {
	t.Helper()
	wantError(t, err, false, "failed at "+step)
	wantError(t, err, false, "it did not answer in time")
	if !server.Hanging() {
		t.Error("the client did not come to the point at which the server hangs")
	}
}

// A server that hangs, at whatever point, holds nobody for longer than the time limit.
func TestHangingServerHasATimeLimit(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	for _, tt := range []struct{ words, step string }{
		{"", "greeting"}, {"EHLO", "greeting"}, {"AUTH", "signing in"}, {"MAIL FROM", "naming the sender"},
		{"RCPT TO", "naming the recipient"}, {"DATA\r\n", "handing over the message"},
		{"\r\n.\r\n", "handing over the message"},
	} {
		t.Run(tt.words, func(t *testing.T) {
			t.Parallel()
			server := &testkit.MailServer{User: "cairn", Password: "hunter2"}
			server.Start(t)
			server.HangAt(tt.words)
			o := options(t, server)
			o.Timeout = hangingLimit
			began := time.Now()
			wantLate(t, server, newSender(t, o).Send(t.Context(), example()), tt.step)
			if took := time.Since(began); took > time.Minute {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestTLSHasATimeLimit(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	for words, implicit := range map[string]bool{"": true, "STARTTLS": false} {
		server, o := secured(t, implicit)
		server.HangAt(words)
		o.Timeout = hangingLimit
		wantLate(t, server, newSender(t, o).Send(t.Context(), example()), "starting TLS")
	}
}

// Each byte comes in time, but all of them don't.
func TestSlowServerHasATimeLimit(t *testing.T) {
	t.Parallel()
	server := testkit.NewMailServer(t)
	server.Drip(20 * time.Millisecond)
	o := options(t, server)
	o.Timeout = 200 * time.Millisecond
	wantError(t, newSender(t, o).Send(t.Context(), example()), false, "it did not answer in time")
	server.Drip(time.Microsecond)
	if err := newSender(t, options(t, server)).Send(t.Context(), example()); err != nil {
		t.Errorf("slow, but in time: %v", err)
	}
}

// Half an answer is none: the other half may say that the message can be sent again later.
func TestServerThatBreaksOffRefusesNothing(t *testing.T) {
	t.Parallel()
	for _, half := range []string{"220", "550 "} {
		breaksOff := func() *testkit.MailServer {
			server := testkit.NewMailServer(t)
			server.Answer("RCPT", 550, "5.7.1", "relay access denied")
			server.BreakOff(half)
			return server
		}
		o := options(t, breaksOff())
		o.Timeout = 200 * time.Millisecond
		wantError(t, newSender(t, o).Send(t.Context(), example()), false, "it did not answer in time")

		server := breaksOff()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- newSender(t, options(t, server)).Send(ctx, example()) }()
		testkit.Eventually(t, "the server has broken off", server.Hanging)
		stop()
		wantError(t, <-done, false, "context canceled")
	}
}

// The server has the message, so sending it again would deliver it twice.
func TestMessageIsSentEvenIfTheServerHangsAfterwards(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	server := testkit.NewMailServer(t)
	server.HangAt("QUIT")
	o := options(t, server)
	o.Timeout = 10 * time.Second
	if err := newSender(t, o).Send(t.Context(), example()); err != nil || len(server.Messages()) != 1 {
		t.Errorf("error %v, %d messages", err, len(server.Messages()))
	}
	if !server.Hanging() {
		t.Error("the server did not hang")
	}
}

func TestRaceSendStopsWithItsContext(t *testing.T) {
	t.Parallel()
	server := testkit.NewMailServer(t)
	server.HangAt("RCPT TO")
	sender := newSender(t, options(t, server))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sender.Send(ctx, example()) }()
	testkit.Eventually(t, "the server hangs", server.Hanging)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || errors.Is(err, ErrRefused) {
		t.Errorf("error %v", err)
	}
}

func TestForeignAddressesNeedSMTPUTF8(t *testing.T) {
	t.Parallel()
	server := testkit.NewMailServer(t)
	s := newSender(t, options(t, server))
	m := example()
	m.To = "jürgen@example.net"
	if err := s.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if got := server.WaitFor(t, m.To, "sign-in"); !got.UTF8 || got.Header.Get("To") != "<jürgen@example.net>" {
		t.Errorf("%+v", got)
	}
	old := &testkit.MailServer{ASCIIOnly: true}
	old.Start(t)
	s = newSender(t, options(t, old))
	if err := s.Send(t.Context(), m); !errors.Is(err, ErrRefused) {
		t.Errorf("without SMTPUTF8: %v", err)
	}
	if err := s.Send(t.Context(), example()); err != nil {
		t.Error(err)
	}
	o := options(t, old)
	o.From.Address = "büro@example.org"
	wantError(t, newSender(t, o).Check(t.Context()), false, "naming the sender (MAIL FROM): the address is not ASCII")
}

func TestNewRefusesWhatItCannotUse(t *testing.T) {
	t.Parallel()
	server := testkit.NewMailServer(t)
	for what, change := range map[string]func(*Options){
		"no server": func(o *Options) { o.URL = nil }, "no sender": func(o *Options) { o.From = nil },
		"no site": func(o *Options) { o.Site = nil },
		"HTTP": func(o *Options) {
			o.URL = &url.URL{Scheme: "https", Host: host, User: url.UserPassword("a", "hunter2")}
		},
		"no host": func(o *Options) { o.URL = &url.URL{Scheme: "smtp"} },
	} {
		o := options(t, server)
		change(&o)
		if _, err := New(o); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
