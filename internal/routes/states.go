package routes

import (
	"time"

	"cairn/internal/oauth"
)

// event is one line of "What happened".
type event struct {
	At   time.Time
	Text string
}

// stateOf says how a connection is by its last real result: the card's state, a few words, and what that means for its
// owner.
func stateOf(p *oauth.Provider, c oauth.Connection) (state, words, problem string) {
	switch c.State {
	case oauth.NeedsReconnect:
		if c.Cause == oauth.Damaged {
			return "needs_reconnect", "Our access to " + p.Name + " is lost",
				inWords(p, c.Cause) + " Connect it again to go on; nothing else is lost."
		}
		return "needs_reconnect", p.Name + " no longer accepts our access",
			"It was taken back at " + p.Name + ", or it ran out. Connect it again to go on; nothing else is lost."
	case oauth.Trouble:
		if c.Cause == oauth.SlowDown {
			return "trouble", p.Name + " asks us to wait", inWords(p, c.Cause) + " Your connection is kept."
		}
		return "trouble", p.Name + " has trouble",
			inWords(p, c.Cause) + " Your connection is kept, and the next try may work."
	case oauth.Paused:
		return "paused", "Paused by " + p.Name, pausedInWords(p, c.Cause)
	}
	if len(p.Missing(c.Granted)) > 0 {
		return "limited", "Connected without activity access", ""
	}
	return "active", "Working", ""
}

func pausedInWords(p *oauth.Provider, cause oauth.Cause) string {
	switch cause {
	case oauth.QuotaSpent:
		return p.Name + " allows Cairn only so many calls a day, and today's are used up. Your connection is kept."
	case oauth.AthleteLimit:
		return p.Name + " allows Cairn only so many people, and has that many. " +
			"Your connection is kept; the operator of this site has to settle it."
	}
	return p.Name + " does not serve Cairn at the moment. " +
		"Your connection is kept; the operator of this site has to settle it."
}

// inWords tells a cause as a sentence for the connection's owner.
func inWords(p *oauth.Provider, cause oauth.Cause) string {
	switch cause {
	case oauth.Connected:
		return "You connected " + p.Name + "."
	case oauth.Reconnected:
		return "You connected " + p.Name + " again."
	case oauth.Works:
		return p.Name + " answered again."
	case oauth.NoAnswer:
		return p.Name + " did not answer."
	case oauth.SlowDown:
		return p.Name + " asked us to slow down."
	case oauth.AppRefused:
		return p.Name + " refused Cairn as a whole, not you."
	case oauth.AthleteLimit:
		return p.Name + " has as many people as it allows Cairn."
	case oauth.QuotaSpent:
		return "The calls that " + p.Name + " allows Cairn in a day were used up."
	case oauth.RefreshRefused:
		return p.Name + " refused to renew our access."
	case oauth.AccessRefused:
		return p.Name + " refused our access."
	case oauth.Damaged:
		return "What Cairn keeps to ask " + p.Name + " with was damaged here."
	case oauth.Disconnected:
		return "You disconnected " + p.Name + "."
	case oauth.Told:
		return p.Name + " confirmed that it has forgotten Cairn."
	case oauth.NotTold:
		return p.Name + " did not confirm that it has forgotten Cairn. To be sure, remove Cairn at " + p.ManageURL
	case oauth.BadAnswer:
		return p.Name + " gave an answer that can't be used."
	}
	return string(cause)
}

func eventsInWords(p *oauth.Provider, history []oauth.Event, zone *time.Location) []event {
	events := make([]event, len(history))
	for i, e := range history {
		events[i] = event{At: e.At.In(zone), Text: inWords(p, e.Cause)}
	}
	return events
}
