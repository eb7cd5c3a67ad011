package testkit

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"regexp"
	"strings"
)

// Mail is a message as it came to a MailServer.
type Mail struct {
	From, To   string // on the envelope
	UTF8       bool   // the sender asked for SMTPUTF8
	TLS        bool   // it came encrypted
	Header     mail.Header
	Text, HTML string
	Raw        string
}

// Subject returns the subject without its encoding.
func (m Mail) Subject() string {
	subject, err := (&mime.WordDecoder{}).DecodeHeader(m.Header.Get("Subject"))
	if err != nil {
		return m.Header.Get("Subject")
	}
	return subject
}

var linkPattern = regexp.MustCompile(`https?://[^\s]+`)

// Link returns the first link in the plain form, or "".
func (m Mail) Link() string { return linkPattern.FindString(m.Text) }

// parse reads a message, which has to have both forms, the plain one first.
func (m *Mail) parse(raw []byte) error {
	message, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	m.Raw, m.Header = string(raw), message.Header
	kind, parameters, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil {
		return err
	}
	if kind != "multipart/alternative" {
		return fmt.Errorf("the message is %s", kind)
	}
	forms := multipart.NewReader(message.Body, parameters["boundary"])
	if m.Text, err = nextForm(forms, "text/plain"); err != nil {
		return err
	}
	if m.HTML, err = nextForm(forms, "text/html"); err != nil {
		return err
	}
	if _, err := forms.NextPart(); err != io.EOF {
		return fmt.Errorf("after both forms: error %v, want the end", err)
	}
	return nil
}

// nextForm reads the next form, which has to be of a kind, and in UTF-8.
func nextForm(forms *multipart.Reader, want string) (text string, err error) {
	form, err := forms.NextPart() // decodes quoted-printable
	if err != nil {
		return "", err
	}
	kind, parameters, err := mime.ParseMediaType(form.Header.Get("Content-Type"))
	if err != nil {
		return "", err
	}
	if kind != want || !strings.EqualFold(parameters["charset"], "utf-8") {
		return "", fmt.Errorf("a form is %s, charset %q; want %s in UTF-8", kind, parameters["charset"], want)
	}
	body, err := io.ReadAll(form)
	return string(body), err
}
