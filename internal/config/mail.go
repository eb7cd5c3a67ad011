package config

import (
	"net/mail"
	"net/netip"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Mail says how mail is sent, and who answers for this site.
type Mail struct {
	Server   *url.URL      // with user and password; nil: no mail is sent
	From     *mail.Address // nil: not configured, and PUBLIC_URL has no host name to make one of
	Operator string        // an e-mail address, a URL or a short text; "": not said
}

func (c *reader) mail(config Config) Mail {
	m := Mail{Server: c.mailServer(), From: c.mailFrom(config), Operator: c.operatorContact()}
	if value, _ := c.first("MAIL_FROM"); m.Server != nil && m.From == nil && value == "" {
		c.problem("MAIL_FROM is required with SMTP_URL: PUBLIC_URL has no host name for a sender")
	}
	return m
}

// mailServer reads SMTP_URL.
func (c *reader) mailServer() *url.URL {
	value := c.value("SMTP_URL")
	if value == "" {
		return nil
	}
	u, err := url.Parse(value)
	if err != nil || !isMailServer(u) {
		c.problem("SMTP_URL is not an address like smtps://user:password@host:465, or " +
			"smtp://user:password@host:587 for STARTTLS, or smtp://host:25?tls=off; " +
			"in the password, write @ as %%40, / as %%2F and # as %%23")
		return nil
	}
	if u.User != nil && u.RawQuery != "" && !IsLoopback(u.Hostname()) {
		c.problem("SMTP_URL has a password and tls=off: others could read the password")
	}
	return u
}

func isMailServer(u *url.URL) bool {
	password, _ := u.User.Password()
	return (u.Scheme == "smtps" && u.RawQuery == "" ||
		u.Scheme == "smtp" && (u.RawQuery == "" || u.RawQuery == "tls=off")) &&
		u.Hostname() != "" && strings.Trim(u.Path, "/") == "" && u.Fragment == "" &&
		(u.User == nil || u.User.Username() != "" && password != "")
}

// mailFrom reads the sender. An IP address would be refused by other mail servers, so it makes none.
func (c *reader) mailFrom(config Config) *mail.Address {
	value, name := c.first("MAIL_FROM")
	if value == "" {
		host := config.Site().Hostname()
		if _, err := netip.ParseAddr(host); err == nil {
			return nil
		}
		value = "Cairn <cairn@" + host + ">"
	}
	from, err := mail.ParseAddress(value)
	if err != nil || strings.ContainsFunc(from.String()+from.Name, unicode.IsControl) {
		c.problem("%s is not an e-mail address like cairn@example.org, or Cairn <cairn@example.org>", name)
		return nil
	}
	return from
}

// operatorContact reads the contact that pages and messages show to people with a question.
func (c *reader) operatorContact() string {
	const longest = 200
	value := c.value("OPERATOR_CONTACT")
	if !utf8.ValidString(value) || utf8.RuneCountInString(value) > longest ||
		strings.ContainsFunc(value, unicode.IsControl) {
		c.problem("OPERATOR_CONTACT is not one line of at most %d characters: "+
			"an e-mail address, a URL or a text", longest)
		return ""
	}
	return value
}
