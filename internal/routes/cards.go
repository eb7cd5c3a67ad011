package routes

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"cairn/internal/activity"
	"cairn/internal/auth"
	"cairn/internal/connection"
	"cairn/internal/oauth"
)

// cardsView is what the pages that show a person's connections share.
type cardsView struct {
	view
	Cards []card
}

func newCardsView(v view, cards []card) cardsView {
	c := cardsView{view: v, Cards: connectedFirst(cards)}
	c.NeedsYou = len(broken(cards))
	return c
}

// broken returns the cards of connections that only their owner can fix.
func broken(cards []card) (broken []card) {
	for _, c := range cards {
		if c.State == "needs_reconnect" {
			broken = append(broken, c)
		}
	}
	return broken
}

// Connected reports whether there is any connection.
func (v cardsView) Connected() bool {
	return slices.ContainsFunc(v.Cards, func(c card) bool { return c.Connected })
}

// Fetching reports whether something is being fetched.
func (v cardsView) Fetching() bool {
	return slices.ContainsFunc(v.Cards, card.Fetching)
}

// Broken returns the cards of connections that only their owner can fix.
func (v cardsView) Broken() []card { return broken(v.Cards) }

// UpToDate says which connections are up to date.
func (v cardsView) UpToDate() string {
	var names []string
	for _, c := range v.Cards {
		if c.State == "active" && !c.Fetching() {
			names = append(names, c.Name)
		}
	}
	switch len(names) {
	case 0:
		return ""
	case 1:
		return names[0] + " is up to date."
	}
	return enumerated(names, "and") + " are up to date."
}

// Attributions are the credits that providers ask for where their data is shown.
func (v cardsView) Attributions() string {
	var credits []string
	for _, c := range v.Cards {
		if c.Attribution != "" {
			credits = append(credits, c.Attribution)
		}
	}
	return strings.Join(credits, " · ")
}

// enumerated is "A", "A and B", "A, B and C", with the word given for "and".
func enumerated(names []string, word string) string {
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " " + word + " " + names[last]
}

// card is one provider on the page of connections.
type card struct {
	Key, Name   string
	FullName    string
	Button      string // as the brand rules want it; "": ours
	Notice      *notice
	Connected   bool
	State       string // "active", "limited", "degraded", "suspended" or "needs_reconnect"
	StateText   string
	Problem     string
	Account     string
	Subject     string // "": not known
	Since       time.Time
	CheckedAt   time.Time
	InState     time.Time
	RetryAt     time.Time // zero: now, or not known
	Permissions []string
	Missing     []string
	Offers      string // not connected: what connecting brings
	Revocable   bool   // the provider can be asked to revoke our access
	Revoking    bool   // not connected any more, and the provider has not confirmed yet
	ManageURL   string
	Latest      *latestView // nil: none are shown
	Pictured    bool
	TwoStep     bool           // the provider has two-step verification of its own
	fresh       bool           // fetched a moment ago
	events      func() []event // what happened, newest first
	Attribution string
}

// Events is what happened, newest first. Only the page of connections shows it.
func (c card) Events() []event { return c.events() }

// Fetching reports whether entries are being fetched from the provider.
func (c card) Fetching() bool { return c.Latest != nil && c.Latest.Fetching }

// canRefresh reports whether new entries can be fetched.
func (c card) canRefresh() bool {
	return c.State == "active" && c.Latest != nil && c.Latest.Refreshable
}

// RefreshPath is where the card's Refresh button leads: to fetch new entries if that is possible, and otherwise to
// check whether the connection works.
func (c card) RefreshPath() string {
	if c.canRefresh() {
		return "/connections/" + c.Key + "/refresh"
	}
	return "/connections/" + c.Key + "/check"
}

func connectedFirst(cards []card) []card {
	slices.SortStableFunc(cards, func(a, b card) int {
		switch {
		case a.Connected == b.Connected:
			return 0
		case a.Connected:
			return -1
		}
		return 1
	})
	return cards
}

// cards are all providers, in the order of the registry. latest reads what is kept of the connections.
func (s *server) cards(
	r *http.Request, userID int64, latest func(context.Context, int64) (map[string]activity.Latest, error),
) ([]card, error) {
	overview, err := s.Connections.Overview(r.Context(), userID)
	if err != nil {
		return nil, err
	}
	kept := map[string]activity.Latest{}
	if len(overview.Connections) > 0 {
		if kept, err = latest(r.Context(), userID); err != nil {
			return nil, err
		}
	}
	var cards []card
	zone := s.zoneOf(r)
	for _, p := range s.Providers {
		v := card{
			Key: p.Key, Name: p.Name, FullName: cmp.Or(p.FullName, p.Name), Button: p.Button,
			Offers: p.Offer, TwoStep: p.TwoStep,
			Revoking: overview.Revoking(p.Key),
			events:   func() []event { return eventsInWords(p, overview.History[p.Key], zone) },
		}
		if at, connected := overview.Connections[p.Key]; connected {
			v.show(p, at, kept[p.Key], zone)
		}
		cards = append(cards, v)
	}
	return cards, nil
}

// show fills in what is known of a connection.
func (v *card) show(p *oauth.Provider, c connection.Connection, kept activity.Latest, zone *time.Location) {
	v.Connected, v.Account, v.Revocable = true, c.Name, c.Revocable(p)
	if auth.KnownSubject(c.Subject) {
		v.Subject = c.Subject
	}
	v.Since, v.CheckedAt = c.Since.In(zone), c.CheckedAt.In(zone)
	v.InState, v.RetryAt = c.InState.In(zone), c.RetryAt.In(zone)
	v.ManageURL, v.Pictured = p.ManageURL, c.PictureURL != ""
	v.Permissions, v.Missing = p.InWords(c.Granted), p.Missing(c.Granted)
	v.State, v.StateText, v.Problem = stateOf(p, c)
	v.Attribution = p.Attribution
	if activity.Permitted(p, c.Granted) {
		v.Latest, v.fresh = latestOf(p, kept, zone, c.State == connection.NeedsReconnect), kept.Fresh
	}
}
