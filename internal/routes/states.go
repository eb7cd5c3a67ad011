package routes

import (
	"time"

	"cairn/internal/connection"
	"cairn/internal/oauth"
)

// event is one line of a connection's history.
type event struct {
	At   time.Time
	Text string
}

// shortStates are the states of connections in two words, each with an icon and a class.
var shortStates = map[string]struct{ Words, Icon, Mood string }{
	"":                {"Not connected", "plug-connected", ""},
	"fetching":        {"Fetching", "hourglass", info},
	"active":          {"Up to date", "circle-check", good},
	"limited":         {"Limited access", "info-circle", info},
	"degraded":        {"Waiting", "clock", "warn"},
	"suspended":       {"Waiting", "clock", "warn"},
	"needs_reconnect": {"Needs you", "alert-triangle", bad},
}

// Short is the card's state in two words.
func (c card) Short() struct{ Words, Icon, Mood string } {
	if c.State == "active" && c.Fetching() {
		return shortStates["fetching"]
	}
	return shortStates[c.State]
}

// stateOf returns the card's state, what happened, and what that means for the owner.
func stateOf(p *oauth.Provider, c connection.Connection) (state, words, problem string) {
	switch c.State {
	case connection.NeedsReconnect:
		const reconnect = "Reconnect it to get new data."
		switch c.Cause {
		case connection.Damaged:
			return "needs_reconnect", "Cairn can’t read its saved access to " + p.Name, reconnect
		case connection.Unreadable:
			return "needs_reconnect", "The old site’s access to " + p.Name + " can’t be used here", reconnect
		case connection.AccountUnknown:
			if p.Moved != "" {
				return "needs_reconnect", p.Moved, "Nothing is lost."
			}
			return "needs_reconnect", "The old site didn’t note which " + p.Name + " account is yours", reconnect
		}
		return "needs_reconnect", p.Name + " disconnected Cairn",
			"Access was revoked at " + p.Name + ", or has expired. " + reconnect
	case connection.Degraded:
		const kept = "You’re still connected."
		switch c.Cause {
		case connection.SlowDown:
			return "degraded", p.Name + " has rate-limited us", kept
		case connection.NoAnswer:
			return "degraded", p.Name + " didn’t answer", kept + " It usually passes within minutes."
		}
		return "degraded", p.Name + " isn’t responding properly", kept + " The next try may work."
	case connection.Suspended:
		words, problem = suspendedInWords(p, c.Cause)
		return "suspended", words, problem
	}
	if len(p.Missing(c.Granted)) > 0 {
		return "limited", p.Name + " is connected, but without your activities", ""
	}
	return "active", "Up to date", ""
}

func suspendedInWords(p *oauth.Provider, cause connection.Cause) (words, problem string) {
	const everyone = "You’re still connected. This affects everyone here. The operator of this site needs to fix it."
	switch cause {
	case connection.QuotaSpent:
		return "Today’s calls to " + p.Name + " are used up",
			"You’re still connected. " + p.Name + " allows Cairn only so many calls a day."
	case connection.AthleteLimit:
		return p.Name + "’s limit for this site is reached", everyone
	}
	return p.Name + " isn’t serving Cairn at the moment", everyone
}

// inWords puts a cause into words, as a line of a connection's history.
func inWords(p *oauth.Provider, cause connection.Cause) string {
	switch cause {
	case connection.Connected:
		return "You connected " + p.Name
	case connection.Reconnected:
		return "You reconnected " + p.Name
	case connection.Works:
		return p.Name + " answered again"
	case connection.NoAnswer:
		return p.Name + " didn’t answer"
	case connection.SlowDown:
		return p.Name + " rate-limited us"
	case connection.AppRefused:
		return p.Name + " refused Cairn, for everyone here"
	case connection.AthleteLimit:
		return p.Name + "’s limit for this site was reached"
	case connection.QuotaSpent:
		return "Cairn’s daily calls to " + p.Name + " were used up"
	case connection.RefreshRefused:
		return p.Name + " refused to renew our access"
	case connection.AccessRefused:
		return p.Name + " refused our access"
	case connection.Damaged:
		return "Cairn couldn’t read its saved access to " + p.Name
	case connection.Imported:
		return p.Name + " came over from the old site"
	case connection.Unreadable, connection.AccountUnknown:
		return p.Name + " came over from the old site, without access that works here"
	case connection.Disconnected:
		return "You disconnected " + p.Name
	case connection.Revoked:
		return p.Name + " confirmed that Cairn’s access is removed"
	case connection.NotRevoked:
		return p.Name + " didn’t confirm that Cairn’s access is removed. To be sure, remove it at " + p.ManageURL
	case connection.BadAnswer:
		return p.Name + " didn’t respond properly"
	}
	return string(cause)
}

func eventsInWords(p *oauth.Provider, history []connection.Event, zone *time.Location) []event {
	events := make([]event, len(history))
	for i, e := range history {
		events[i] = event{At: e.At.In(zone), Text: inWords(p, e.Cause)}
	}
	return events
}
