package mail

import (
	"embed"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"net/mail"
	"net/url"
	"regexp"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode"
	"unicode/utf8"

	gomail "github.com/wneessen/go-mail"

	"cairn/internal/text"
)

// Message is an e-mail to one person, in our words. What others may have chosen, like the name of a device, belongs in
// a paragraph or in the value of a fact: these are cleaned. Everything else is refused if it is not one line.
type Message struct {
	ID         string // of letters, digits, dots, hyphens and underscores; the same in each try, so that copies show
	To         string // an address without a name
	Subject    string
	Heading    string
	Paragraphs []string // the facts come after the first
	Facts      []Fact
	Action     *Action // nil: there is nothing to do
	Why        string  // a sentence that says why its reader gets it
	Choose     string  // the URL of our page where people choose not to get it; "": they can't
}

// Fact is a line of the small table in a message.
type Fact struct{ Name, Value string }

// Action is what a message asks for: a link to our own site.
type Action struct{ Label, URL string }

// Letterhead is what all messages have in common.
type Letterhead struct {
	Site     *url.URL // PUBLIC_URL, where their links lead
	Operator string   // whom to ask: an e-mail address, a URL or a short text; "": not said
}

// Render returns both forms of a message, which say the same. Errors: ErrInvalid.
func (l Letterhead) Render(m Message) (plain, html string, err error) {
	if err := l.check(m); err != nil {
		return "", "", err
	}
	return l.forms(m)
}

// longest is how long a paragraph or the value of a fact can be.
const longest = 2000

//go:embed message.html message.txt
var templates embed.FS

var (
	errNotOneLine = errors.New("not one line of text, or not an e-mail address")
	validID       = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}$`)
)

// oneLine reports whether s can be in a header: no line break or other control character is in it.
func oneLine(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// isAddress reports whether s is an e-mail address and nothing else: no name, no quotes, no spaces.
func isAddress(s string) bool {
	parsed, err := mail.ParseAddress(s)
	return err == nil && parsed.Address == s && oneLine(s) && len(s) <= 254 && !strings.ContainsFunc(s, unicode.IsSpace)
}

// check refuses a message that could break out of a header, or that leads to another site.
func (l Letterhead) check(m Message) error {
	if !validID.MatchString(m.ID) {
		return fmt.Errorf("%w: ID", ErrInvalid)
	}
	if !isAddress(m.To) {
		return fmt.Errorf("%w: To: %w", ErrInvalid, errNotOneLine)
	}
	lines := []string{m.Subject, m.Heading, m.Why}
	for _, f := range m.Facts {
		lines = append(lines, f.Name)
	}
	if m.Action != nil {
		lines = append(lines, m.Action.Label)
		if !l.isOurs(m.Action.URL) {
			return fmt.Errorf("%w: its link does not lead to %s", ErrInvalid, l.Site.Host)
		}
	}
	if m.Choose != "" && !l.isOurs(m.Choose) {
		return fmt.Errorf("%w: its page of choices is not at %s", ErrInvalid, l.Site.Host)
	}
	for _, line := range lines {
		if line == "" || !oneLine(line) {
			return fmt.Errorf("%w: %w", ErrInvalid, errNotOneLine)
		}
	}
	return nil
}

// isOurs reports whether an address is on our site, and can be in a text as it is.
func (l Letterhead) isOurs(address string) bool {
	odd := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"<>\`, r) }
	return strings.HasPrefix(address, l.Site.String()+"/") && !strings.ContainsFunc(address, odd)
}

// view is what the templates see.
type view struct {
	Message
	First        string // paragraph
	Rest         []string
	Site         string
	Operator     string
	OperatorLink string // "": no link
}

func (l Letterhead) view(m Message) view {
	v := view{Message: m, Site: l.Site.Host, Operator: l.Operator}
	for i, p := range m.Paragraphs {
		if i == 0 {
			v.First = text.Clean(longest, p)
			continue
		}
		v.Rest = append(v.Rest, text.Clean(longest, p))
	}
	v.Facts = nil
	for _, f := range m.Facts {
		v.Facts = append(v.Facts, Fact{f.Name, text.Clean(longest, f.Value)})
	}
	switch {
	case isAddress(l.Operator):
		v.OperatorLink = "mailto:" + l.Operator
	case strings.HasPrefix(l.Operator, "https://"):
		v.OperatorLink = l.Operator
	}
	return v
}

// forms returns both forms of a message. They say the same.
func (l Letterhead) forms(m Message) (plain, html string, err error) {
	v := l.view(m)
	var out strings.Builder
	plainForm, err := texttemplate.ParseFS(templates, "message.txt")
	if err == nil {
		err = plainForm.Execute(&out, v)
	}
	plain = out.String()
	if err != nil {
		return "", "", fmt.Errorf("mail: message.txt: %w", err)
	}
	out.Reset()
	htmlForm, err := htmltemplate.ParseFS(templates, "message.html")
	if err == nil {
		err = htmlForm.Execute(&out, v)
	}
	if err != nil {
		return "", "", fmt.Errorf("mail: message.html: %w", err)
	}
	return plain, out.String(), nil
}

// compose returns a complete message. Errors: ErrInvalid.
func (s *Sender) compose(m Message) (*gomail.Msg, error) {
	plain, html, err := Letterhead{s.with.Site, s.with.Operator}.Render(m)
	if err != nil {
		return nil, err
	}
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(s.with.From)
	msg.ToMailAddress(&mail.Address{Address: m.To})
	msg.Subject(m.Subject)
	msg.SetDateWithValue(time.Now())
	msg.SetMessageIDWithValue(m.ID + "@" + s.name)
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // so that no absence note answers it (RFC 3834)
	msg.SetBodyString(gomail.TypeTextPlain, plain)
	msg.AddAlternativeString(gomail.TypeTextHTML, html)
	return msg, nil
}
