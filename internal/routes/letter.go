package routes

import (
	"fmt"
	"net/url"
	"time"

	"cairn/internal/connection"
	"cairn/internal/oauth"
)

// Letter is the mail to the owner of a connection that needs them, in the words of its card. site
// is where browsers reach us. The mail holds nothing that anybody typed, not even a name: the
// address is unproven, and we must not deliver a stranger's words.
func Letter(p *oauth.Provider, n connection.Notice, site *url.URL) (subject, text string) {
	zone, err := time.LoadLocation(n.TimeZone)
	if err != nil {
		zone = time.UTC
	}
	since := n.Since.In(zone)
	_, words, problem := stateOf(p, connection.Connection{State: connection.NeedsReconnect, Cause: n.Cause})
	return "Please connect " + p.Name + " again", fmt.Sprintf(`%s since %s.

%s

Sign in and press "Reconnect %s":
%s

This is said once. You get it because an account at %s has this address. If that is not yours, there is nothing to do.
`, words, since.Format("2 Jan 2006, 15:04 ")+zoneName(since), problem, p.Name, site.JoinPath("login"), site.Host)
}
