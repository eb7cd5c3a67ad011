package admin

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"cairn/internal/config"
	"cairn/internal/mail"
)

// AboutMail explains Mail.
const AboutMail = `
It sends one message to the address at once, and prints what the mail server in
SMTP_URL answers. If the server accepts it, it may still not arrive: check the
mailbox, and its spam folder. No database is needed.
`

// Mail sends a test message.
func Mail(ctx context.Context, e Env, out io.Writer) error {
	to, err := parseMail(e.Args)
	if err != nil {
		return err
	}
	c, err := e.Config()
	if err != nil {
		return err
	}
	if c.Mail.Server == nil {
		return errors.New("SMTP_URL is not set, so no mail can be sent")
	}
	sender, err := newSender(c, 0)
	if err != nil {
		return err
	}
	answer, err := sender.Submit(ctx, testMessage(c, to))
	switch {
	case errors.Is(err, mail.ErrInvalid):
		return UsageError("that is not an e-mail address")
	case err != nil:
		return err
	}
	_, err = fmt.Fprintf(out, "%s took the message: %s\n", c.Mail.Server.Host, answer)
	return err
}

// parseMail returns the address to which a test message goes.
func parseMail(args []string) (to string, err error) {
	_, rest, err := Verb(args, "test")
	if err != nil {
		return "", err
	}
	return parseAddress(rest)
}

// parseAddress reads the arguments of a command that has an e-mail address and no flags.
func parseAddress(args []string) (address string, err error) {
	switch {
	case len(args) == 0:
		return "", UsageError("expected an e-mail address")
	case strings.HasPrefix(args[0], "-"):
		return "", Parse(args, nil)
	}
	return args[0], Parse(args[1:], nil)
}

// newSender returns a sender for the mail server in SMTP_URL. limit 0 is the default.
func newSender(c config.Config, limit time.Duration) (*mail.Sender, error) {
	return mail.New(mail.Options{
		URL: c.Mail.Server, From: c.Mail.From, Site: c.Site(), Operator: c.Mail.Operator, Timeout: limit,
	})
}

func testMessage(c config.Config, to string) mail.Message {
	return mail.Message{
		ID: "test." + rand.Text(), To: to, Subject: "Test message from " + c.Site().Host,
		Heading: "Mail from this site arrives", Paragraphs: []string{"There is nothing to do."},
		Action: &mail.Action{Label: "Open the site", URL: c.Site().String() + "/"},
		Why:    "You get this because an operator of the site sent a test message to this address.",
	}
}

// checkMail goes through everything that sending a message takes, without one.
func checkMail(ctx context.Context, e deployment) []Finding {
	m := e.config.Mail
	switch {
	case m.Server == nil && e.config.Production && !config.IsSet(e.getenv, "SMTP_URL"):
		return []Finding{{Warning, "mail", "SMTP_URL is not set, so no mail is sent: people can't reset a forgotten " +
			"password themselves, confirm their address, or get messages"}}
	case m.Server == nil || m.From == nil:
		return nil
	}
	sender, err := newSender(e.config, e.limits.Doctor)
	if err == nil {
		err = sender.Check(ctx)
	}
	if err != nil {
		return []Finding{{Failure, "mail", err.Error()}}
	}
	return []Finding{{OK, "mail", fmt.Sprintf("%s accepts mail from %s; server mail test sends a message",
		m.Server.Host, m.From.Address)}}
}
