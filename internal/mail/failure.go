package mail

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cairn/internal/text"
)

// step is a part of the conversation with a mail server, in words for operators.
type step string

const (
	connecting      step = "connecting"
	encrypting      step = "starting TLS"
	greeting        step = "greeting"
	signingIn       step = "signing in (AUTH)"
	namingSender    step = "naming the sender (MAIL FROM)"
	namingRecipient step = "naming the recipient (RCPT TO)"
	handingOver     step = "handing over the message (DATA)"
	takingBack      step = "taking it back (RSET)"
)

var (
	errNoTLS  = errors.New("it offers no TLS, and without TLS others could read the password and the message")
	errLate   = errors.New("it did not answer in time")
	errNoAuth = errors.New("it offers neither AUTH PLAIN nor AUTH LOGIN")
	errNoUTF8 = errors.New("the address is not ASCII, and the server lacks SMTPUTF8")
)

// failed says at which step something went wrong, in words that can be logged. It returns nil for nil.
func (c *session) failed(at step, err error) error {
	if err == nil {
		return nil
	}
	answer, answered := errors.AsType[*textproto.Error](err)
	switch {
	// Even if there is an answer: it may be half of one.
	case errors.Is(c.ctx.Err(), context.Canceled):
		err = c.ctx.Err()
	case c.late():
		err = errLate
	case answered && at.isAboutMessage() && isFinal(answer):
		err = fmt.Errorf("%w: it answered %s", ErrRefused, c.shown(answer.Code, answer.Msg))
	case answered:
		err = errors.New("it answered " + c.shown(answer.Code, answer.Msg))
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = errLate
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("it hung up")
	}
	return fmt.Errorf("%s failed at %s: %w", c.server, at, err)
}

// late reports whether the time is over. It reads the clock, because the connection may end before the context does.
func (c *session) late() bool {
	deadline, limited := c.ctx.Deadline()
	return limited && !time.Now().Before(deadline)
}

func (at step) isAboutMessage() bool { return at == namingRecipient || at == handingOver }

var enhanced = regexp.MustCompile(`^5\.([0-9]{1,3})\.([0-9]{1,3})\b`)

// isFinal reports whether an answer to RCPT or DATA refuses this recipient or this message for good. Other 5xx answers
// are about us, and an operator can fix their cause: a command, relaying, or a domain that the server distrusts (RFC
// 3463, subjects 3, 5 and 7; 1.7 and 1.8).
func isFinal(answer *textproto.Error) bool {
	if answer.Code < 500 {
		return false
	}
	found := enhanced.FindStringSubmatch(answer.Msg)
	if found == nil {
		return answer.Code >= 550 // 500 to 549 are about commands and signing in
	}
	subject, detail := found[1], found[2]
	switch subject {
	case "3":
		return detail == "4" // the message is too large
	case "5", "7":
		return false
	case "1":
		return detail != "7" && detail != "8"
	}
	return true
}

// secrets lists what errors must not contain.
func (s *Sender) secrets(m Message) (secrets []string) {
	user := s.with.URL.User.Username()
	if password, _ := s.with.URL.User.Password(); password != "" {
		encode := base64.StdEncoding.EncodeToString
		secrets = append(secrets, password, encode([]byte(password)), encode([]byte("\x00"+user+"\x00"+password)))
	}
	secrets = append(secrets, m.To, m.Subject, m.Heading)
	if local, _, _ := strings.Cut(m.To, "@"); len(local) > 2 {
		secrets = append(secrets, local)
	}
	secrets = append(secrets, m.Paragraphs...)
	for _, f := range m.Facts {
		secrets = append(secrets, f.Value)
	}
	return slices.DeleteFunc(secrets, func(secret string) bool { return secret == "" })
}

// shown returns an answer of the server as one short line. Servers like to quote what they refuse: so what is secret is
// left out, and every word that could be an address, a link or a code.
func (c *session) shown(code int, said string) string {
	for _, secret := range c.hidden {
		said = strings.ReplaceAll(said, secret, "…")
	}
	words := strings.Fields(said)
	for i, word := range words {
		if strings.ContainsAny(word, "@") || strings.Contains(word, "://") || len(word) > 40 {
			words[i] = "…"
		}
	}
	return text.Clean(200, strconv.Itoa(code), strings.Join(words, " "))
}
