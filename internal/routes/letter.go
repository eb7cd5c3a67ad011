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

// Letter is a mail, with the same in plain text and in HTML.
type Letter struct{ Subject, Text, HTML string }

// The style is part of it, because a mail can load no stylesheet.
//
//go:embed letter.html
var letterHTML string

// NewLetter is the mail to the owner of a connection that needs them, in the words of its card. site
// is where browsers reach us. The mail holds nothing that anybody typed, not even a name: the
// address is unproven, and we must not deliver a stranger's words.
func NewLetter(p *oauth.Provider, n connection.Notice, site *url.URL) (Letter, error) {
	zone, err := time.LoadLocation(n.Owner.TimeZone)
	if err != nil {
		zone = time.UTC
	}
	since := n.Since.In(zone)
	said := struct{ Subject, What, Why, Since, Provider, Link, Site string }{
		Subject: "Please connect " + p.Name + " again", Since: since.Format("2 January 2006, 15:04 ") + zoneName(since),
		Provider: p.Name, Link: site.JoinPath(connectionsPath).String(), Site: site.Host,
	}
	_, said.What, said.Why = stateOf(p, connection.Connection{State: connection.NeedsReconnect, Cause: n.Cause})
	text := fmt.Sprintf(`%s.

%s
Since %s.

Reconnect %s:
%s

You get this once, because an account at %s has this address. If it isn’t yours, there is nothing to do.
`, said.What, said.Why, said.Since, said.Provider, said.Link, said.Site)
	page, err := template.New("letter").Parse(letterHTML)
	if err != nil {
		return Letter{}, fmt.Errorf("routes: letter: %w", err)
	}
	var html bytes.Buffer
	if err := page.Execute(&html, said); err != nil {
		return Letter{}, fmt.Errorf("routes: letter: %w", err)
	}
	return Letter{said.Subject, text, html.String()}, nil
}
