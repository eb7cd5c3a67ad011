// Package mail writes e-mails and hands them to the operator's mail server.
//
//	outbox.go   taking a message into the transaction that causes it
//	worker.go   the job that sends it, until it is sent or no longer needed
//	mail.go     the sender, and what it needs to know
//	message.go  one message, and both forms of it: message.html, message.txt
//	smtp.go     sending a message, and checking a mail server without one
//	session.go  the conversation with a mail server, step by step
//	failure.go  what went wrong, in words that can be logged
//
// A message is stored as what it is about. Its words, which package routes has, are made when it is sent.
package mail

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Errors after which the same message is not sent again. After any other error it is: the mail server was down, asked
// us to try later, or must be configured to accept our mail.
var (
	ErrRefused = errors.New("the message was refused for good") // by the server: its recipient or its content
	ErrInvalid = errors.New("the message is not valid")         // it was never sent
)

// Options say how to send. URL, From and Site are required.
type Options struct {
	// URL is the mail server: smtps://user:password@host:465 speaks TLS from the start. smtp://user:password@host:587
	// has to offer STARTTLS, unless the host is this machine or the query is tls=off.
	URL      *url.URL
	From     *mail.Address
	Site     *url.URL       // PUBLIC_URL: links lead there, and its host names us to other mail servers
	Operator string         // whom to ask: an e-mail address, a URL or a short text; "": not said
	Timeout  time.Duration  // for everything about one message, from connecting on; 0: 30 s
	RootCAs  *x509.CertPool // who may sign the server's certificate; nil: whom this machine trusts
	Dialer   Dialer         // nil: an ordinary one
}

// Sender sends messages. Several goroutines may use it.
type Sender struct {
	with   Options // not exported, so that no one prints the password
	host   string  // of the mail server, without a port
	server string  // with a port, as messages for operators name it
	name   string  // ours: in Message-ID and EHLO
}

// New returns a sender. It does not connect yet. No error contains the URL, because a password may be in it.
func New(o Options) (*Sender, error) {
	if o.URL == nil || o.From == nil || o.Site == nil || o.URL.Hostname() == "" {
		return nil, errors.New("mail: a server, a sender and a site are required")
	}
	ports := map[string]string{"smtp": "587", "smtps": "465"}
	if ports[o.URL.Scheme] == "" {
		return nil, errors.New("mail: the server's address begins with neither smtp:// nor smtps://")
	}
	if !oneLine(o.From.Name) || !isAddress(o.From.Address) {
		return nil, fmt.Errorf("mail: sender: %w", errNotOneLine)
	}
	o.Timeout = cmp.Or(o.Timeout, 30*time.Second)
	if o.Dialer == nil {
		o.Dialer = &net.Dialer{}
	}
	host := o.URL.Hostname()
	return &Sender{
		with: o, host: host, server: net.JoinHostPort(host, cmp.Or(o.URL.Port(), ports[o.URL.Scheme])),
		name: literal(o.Site.Hostname()),
	}, nil
}

// literal returns a host as mail has it: an IP address is in brackets there (RFC 5321, section 4.1.3).
func literal(host string) string {
	addr, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return host
	case addr.Is4():
		return "[" + host + "]"
	}
	return "[IPv6:" + host + "]"
}

// plain reports whether the conversation may go on without TLS.
func (s *Sender) plain() bool {
	return s.with.URL.Scheme == "smtp" && (s.here() || s.with.URL.Query().Get("tls") == "off")
}

// here reports whether the mail server is on this machine, so that no one can listen.
func (s *Sender) here() bool {
	addr, err := netip.ParseAddr(s.host)
	return err == nil && addr.IsLoopback() || strings.EqualFold(s.host, "localhost")
}
