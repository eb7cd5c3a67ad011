package admin

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/routes"
)

// message returns a complete message. Its lines end in \n, as programs like sendmail expect. A notice has the same
// Message-ID each time. An address that is not ASCII stays as it is in the header (RFC 6532).
func (n notifier) message(notice connection.Notice) ([]byte, error) {
	to, err := mail.ParseAddress(notice.Owner.Email)
	if err != nil || to.Address != notice.Owner.Email {
		return nil, errors.New("the e-mail address can't be used in a message")
	}
	i := slices.IndexFunc(n.providers, func(p *oauth.Provider) bool { return p.Key == notice.Provider })
	email, err := routes.NewEmail(n.providers[i], notice, n.site)
	if err != nil {
		return nil, err
	}
	contentType, body, err := alternatives(email)
	if err != nil {
		return nil, err
	}
	_, host, _ := strings.Cut(n.from.Address, "@")
	var message bytes.Buffer
	for _, field := range [][2]string{
		{"From", n.from.String()},
		{"To", (&mail.Address{Address: to.Address}).String()},
		{"Subject", mime.QEncoding.Encode("utf-8", email.Subject)},
		{"Date", time.Now().UTC().Format(time.RFC1123Z)},
		{"Message-ID", fmt.Sprintf("<notice.%d.%d@%s>", notice.IdentityID, notice.Since.UnixMicro(), host)},
		{"MIME-Version", "1.0"},
		{"Content-Type", contentType},
		{"Auto-Submitted", "auto-generated"},
	} {
		message.WriteString(field[0] + ": " + field[1] + "\n")
	}
	message.WriteString("\n")
	message.Write(body)
	return bytes.ReplaceAll(message.Bytes(), []byte("\r\n"), []byte("\n")), nil
}

// alternatives returns both forms of an e-mail as one body, the plainer form first (RFC 2046, section 5.1.4).
func alternatives(email routes.Email) (contentType string, body []byte, err error) {
	var both bytes.Buffer
	forms := multipart.NewWriter(&both)
	for _, form := range []struct{ kind, text string }{{"text/plain", email.Text}, {"text/html", email.HTML}} {
		part, err := forms.CreatePart(textproto.MIMEHeader{
			"Content-Type":              {form.kind + "; charset=utf-8"},
			"Content-Transfer-Encoding": {"quoted-printable"},
		})
		if err != nil {
			return "", nil, err
		}
		encoded := quotedprintable.NewWriter(part)
		_, err = encoded.Write([]byte(form.text))
		if err := errors.Join(err, encoded.Close()); err != nil {
			return "", nil, err
		}
	}
	err = forms.Close()
	return "multipart/alternative; boundary=" + forms.Boundary(), both.Bytes(), err
}
