package testkit

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"regexp"
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

// parse reads a message of both forms.
func (m *Mail) parse(raw []byte) error {
	message, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	m.Raw, m.Header = string(raw), message.Header
	kind, parameters, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		return err
	}
	forms := multipart.NewReader(message.Body, parameters["boundary"])
	for {
		form, err := forms.NextPart() // decodes quoted-printable
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		body, err := io.ReadAll(form)
		if err != nil {
			return err
		}
		switch kind, _, _ := mime.ParseMediaType(form.Header.Get("Content-Type")); kind {
		case "text/plain":
			m.Text = string(body)
		case "text/html":
			m.HTML = string(body)
		}
	}
}
