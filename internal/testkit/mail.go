package testkit

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// MailServer is an SMTP server that keeps what it gets. Its fields may be set before Start.
type MailServer struct {
	URL      *url.URL    // for SMTP_URL; known once it is started
	TLS      *tls.Config // offers STARTTLS; nil: it does not
	Implicit bool        // it speaks TLS from the start instead
	User     string      // who may sign in, and has to; "": no one has to
	Password string
	// ASCIIOnly leaves out SMTPUTF8.
	ASCIIOnly bool

	mu       sync.Mutex
	answers  map[string]*smtp.SMTPError
	messages []Mail
	signIns  int
	line     line
}

// NewMailServer returns a server at 127.0.0.1, started and without TLS.
func NewMailServer(t testing.TB) *MailServer {
	t.Helper()
	m := &MailServer{}
	m.Start(t)
	return m
}

// Start starts the server, which stops with the test.
func (m *MailServer) Start(t testing.TB) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.URL = &url.URL{Scheme: "smtp", Host: listener.Addr().String()}
	if m.User != "" {
		m.URL.User = url.UserPassword(m.User, m.Password)
	}
	m.line.closed = make(chan struct{})
	listener = lineListener{listener, &m.line}
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		_, encrypted := c.TLSConnectionState()
		return &mailSession{server: m, encrypted: encrypted}, nil
	}))
	server.Domain, server.AllowInsecureAuth, server.EnableSMTPUTF8 = "mail.example.org", true, !m.ASCIIOnly
	server.ErrorLog = log.New(io.Discard, "", 0)
	server.TLSConfig = m.TLS
	if m.Implicit {
		m.URL.Scheme = "smtps"
		listener = tls.NewListener(listener, m.TLS)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		close(m.line.closed)
		_ = listener.Close() // the server may not know it yet
		_ = server.Close()
		wg.Wait()
	})
}

// Answer makes the server answer a command with an error: AUTH, MAIL, RCPT, or DATA for the message itself. status is
// the enhanced one, like "5.1.1", or "". Code 0 takes the error back.
func (m *MailServer) Answer(command string, code int, status, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.answers == nil {
		m.answers = map[string]*smtp.SMTPError{}
	}
	text = strings.TrimSpace(status + " " + text)
	answer := &smtp.SMTPError{Code: code, EnhancedCode: smtp.NoEnhancedCode, Message: text}
	if code == 0 {
		answer = nil
	}
	m.answers[command] = answer
}

func (m *MailServer) answer(command string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if answer := m.answers[command]; answer != nil {
		return answer
	}
	return nil
}

// Messages returns what has come so far, in order.
func (m *MailServer) Messages() []Mail {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.messages)
}

// SignIns returns how often someone signed in.
func (m *MailServer) SignIns() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.signIns
}

// WaitFor waits for a message to an address whose subject contains some words, and returns the first such message.
func (m *MailServer) WaitFor(t testing.TB, to, subject string) (found Mail) {
	t.Helper()
	Eventually(t, "a message to "+to+" about "+subject, func() bool {
		all := m.Messages()
		i := slices.IndexFunc(all, func(mail Mail) bool {
			return mail.To == to && strings.Contains(mail.Subject(), subject)
		})
		if i >= 0 {
			found = all[i]
		}
		return i >= 0
	})
	return found
}

// mailSession is one conversation on the server's side.
type mailSession struct {
	server    *MailServer
	encrypted bool
	signedIn  bool
	mail      Mail
}

func (s *mailSession) AuthMechanisms() []string {
	if s.server.User == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (s *mailSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if err := s.server.answer("AUTH"); err != nil {
			return err
		}
		if user != s.server.User || password != s.server.Password {
			return smtp.ErrAuthFailed
		}
		s.server.mu.Lock()
		defer s.server.mu.Unlock()
		s.server.signIns++
		s.signedIn = true
		return nil
	}), nil
}

func (s *mailSession) Mail(from string, options *smtp.MailOptions) error {
	if s.server.User != "" && !s.signedIn {
		return smtp.ErrAuthRequired
	}
	s.mail = Mail{From: from, UTF8: options.UTF8, TLS: s.encrypted}
	return s.server.answer("MAIL")
}

func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if s.mail.To != "" {
		return errors.New("a second recipient")
	}
	s.mail.To = to
	return s.server.answer("RCPT")
}

func (s *mailSession) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := s.server.answer("DATA"); err != nil {
		return err
	}
	if err := s.mail.parse(text); err != nil {
		return err
	}
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.messages = append(s.server.messages, s.mail)
	return nil
}

func (s *mailSession) Reset() { s.mail = Mail{} }

func (s *mailSession) Logout() error { return nil }
