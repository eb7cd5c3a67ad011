package routes

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"net/url"
	"time"

	"cairn/internal/connection"
	"cairn/internal/oauth"
)

// Email is a message by mail. Text and HTML say the same.
type Email struct{ Subject, Text, HTML string }

// The style is part of it, because an e-mail can load no stylesheet.
//
//go:embed email.html
var emailHTML string

// NewEmail makes the e-mail to the owner of a connection that needs to be reconnected, in the words of its card.
// site is where browsers reach us. The message holds nothing that users typed, not even a name: the address is
// unproven, and we must not deliver a stranger's words.
func NewEmail(p *oauth.Provider, n connection.Notice, site *url.URL) (Email, error) {
	zone, err := time.LoadLocation(n.Owner.TimeZone)
	if err != nil {
		zone = time.UTC
	}
	since := n.Since.In(zone)
	fields := struct{ Subject, What, Why, Since, Provider, Link, Site string }{
		Subject: "Please connect " + p.Name + " again", Since: since.Format("2 January 2006, 15:04 ") + zoneName(since),
		Provider: p.Name, Link: site.JoinPath(connectionsPath).String(), Site: site.Host,
	}
	_, fields.What, fields.Why = stateOf(p, connection.Connection{State: connection.NeedsReconnect, Cause: n.Cause})
	text := fmt.Sprintf(`%s.

%s
Nothing new has come from %[4]s since %[3]s.

Reconnect %[4]s:
%[5]s

You get this once, because an account at %[6]s has this address. If it isn’t yours, there is nothing to do.
`, fields.What, fields.Why, fields.Since, fields.Provider, fields.Link, fields.Site)
	page, err := template.New("email").Parse(emailHTML)
	if err != nil {
		return Email{}, fmt.Errorf("routes: e-mail: %w", err)
	}
	var html bytes.Buffer
	if err := page.Execute(&html, fields); err != nil {
		return Email{}, fmt.Errorf("routes: e-mail: %w", err)
	}
	return Email{fields.Subject, text, html.String()}, nil
}
