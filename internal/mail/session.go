package mail

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

// Dialer connects to a mail server.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// session is one conversation with a mail server. The deadline of ctx is for all of it, so it also ends if the server
// never stops talking.
type session struct {
	*Sender
	ctx    context.Context
	conn   net.Conn
	client *smtp.Client
	hidden []string // what no error may contain, although the server may have said it
	end    func()   // hangs up
}

// open connects, encrypts and signs in. m is what will be sent.
func (s *Sender) open(ctx context.Context, m Message) (*session, error) {
	c := &session{Sender: s, ctx: ctx, hidden: s.secrets(m)}
	conn, err := s.with.Dialer.DialContext(ctx, "tcp", s.server)
	if err != nil {
		return nil, c.failed(connecting, err)
	}
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // wakes who waits for the server
	c.conn, c.end = conn, func() { stop(); _ = conn.Close() }
	for _, step := range []func() error{c.encrypt, c.greet, c.upgrade, c.signIn} {
		if err := step(); err != nil {
			c.end()
			return nil, err
		}
	}
	return c, nil
}

func (c *session) tls() *tls.Config {
	return &tls.Config{ServerName: c.host, RootCAs: c.with.RootCAs, MinVersion: tls.VersionTLS12}
}

// encrypt speaks TLS from the start, if the server is one for that.
func (c *session) encrypt() error {
	if c.with.URL.Scheme != "smtps" {
		return nil
	}
	encrypted := tls.Client(c.conn, c.tls())
	c.conn = encrypted
	return c.failed(encrypting, encrypted.HandshakeContext(c.ctx))
}

func (c *session) greet() error {
	client, err := smtp.NewClient(c.conn, c.host)
	if err != nil {
		return c.failed(greeting, err)
	}
	c.client = client
	return c.failed(greeting, client.Hello(c.name))
}

// upgrade starts TLS. It fails if the server does not offer TLS: an attacker in between may have removed the offer.
func (c *session) upgrade() error {
	if c.with.URL.Scheme == "smtps" || c.plain() {
		return nil
	}
	if offered, _ := c.client.Extension("STARTTLS"); !offered {
		return c.failed(encrypting, errNoTLS)
	}
	return c.failed(encrypting, c.client.StartTLS(c.tls()))
}

// signIn signs in, if there is a password, and never where others could read it.
func (c *session) signIn() error {
	password, given := c.with.URL.User.Password()
	if !given {
		return nil
	}
	if c.with.URL.Scheme != "smtps" && c.plain() && !c.here() {
		return c.failed(signingIn, errNoTLS)
	}
	user := c.with.URL.User.Username()
	_, offer := c.client.Extension("AUTH")
	mechanisms := strings.Fields(offer)
	switch {
	case slices.Contains(mechanisms, "PLAIN"):
		return c.failed(signingIn, c.client.Auth(smtp.PlainAuth("", user, password, c.host, c.here())))
	case slices.Contains(mechanisms, "LOGIN"):
		return c.failed(signingIn, c.client.Auth(smtp.LoginAuth(user, password, c.host, c.here())))
	}
	return c.failed(signingIn, errNoAuth)
}

// from names us as the sender of a message to an address, or to nobody. SMTPUTF8 is only for addresses that need it,
// because servers further on that lack it would send the message back.
func (c *session) from(to string) error {
	able, _ := c.client.Extension("SMTPUTF8")
	switch {
	case !able && !isASCII(c.with.From.Address):
		return c.failed(namingSender, errNoUTF8)
	case !able && !isASCII(to):
		return c.failed(namingRecipient, fmt.Errorf("%w: %w", ErrRefused, errNoUTF8))
	}
	c.client.SkipSMTPUTF8(isASCII(c.with.From.Address) && isASCII(to))
	return c.failed(namingSender, c.client.Mail("<"+c.with.From.Address+">"))
}

func (c *session) to(address string) error {
	return c.failed(namingRecipient, c.client.Rcpt("<"+address+">"))
}

// content sends the message itself. Once the server has answered, the message is its own, whatever comes after.
func (c *session) content(msg *gomail.Msg) (answer string, err error) {
	w, err := c.client.Data()
	if err != nil {
		return "", c.failed(handingOver, err)
	}
	if _, err := msg.WriteTo(w); err != nil {
		return "", c.failed(handingOver, err)
	}
	if err := w.Close(); err != nil {
		return "", c.failed(handingOver, err)
	}
	if data, ok := w.(*smtp.DataCloser); ok {
		answer = c.shown(250, data.ServerResponse())
	}
	return answer, nil
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > '~' })
}
