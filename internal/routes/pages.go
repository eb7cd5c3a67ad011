package routes

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"cairn/internal/activity"
	"cairn/internal/auth"
	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/session"
)

type landingView struct {
	view
	Providers []providerView
}

type homeView struct {
	cardsView
	Feed feed
}

// Refreshable reports whether anything can be fetched.
func (v homeView) Refreshable() bool { return slices.ContainsFunc(v.Cards, card.canRefresh) }

// FetchingFrom names the providers from which something is being fetched.
func (v homeView) FetchingFrom() string {
	var names []string
	for _, c := range v.Cards {
		if c.Fetching() {
			names = append(names, c.Name)
		}
	}
	return enumerated(names, "and")
}

type connectionsView struct{ cardsView }

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

// broken returns the cards of connections that only their owner can mend.
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

// Broken returns the cards of connections that only their owner can mend.
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
	Notice      *notice
	Connected   bool
	State       string // "active", "limited", "degraded", "suspended" or "needs_reconnect"
	StateText   string
	Problem     string
	Account     string
	Subject     string
	Since       time.Time
	CheckedAt   time.Time
	InState     time.Time
	RetryAt     time.Time // zero: now, or not known
	Events      []event   // what happened, newest first
	Permissions []string
	Missing     []string
	Offers      string // not connected: what connecting brings
	Revoking    bool   // not connected any more, and the provider has not confirmed yet
	ManageURL   string
	Latest      *latestView // nil: none are shown
	Pictured    bool
	fresh       bool // fetched a moment ago
	Attribution string
}

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

func (s *server) home(w http.ResponseWriter, r *http.Request) error {
	current, ok := session.Current(r.Context())
	if !ok && session.Stale(r.Context()) {
		redirect(w, r, "/login") // which says why
		return nil
	}
	if !ok {
		v := landingView{s.view(r, "Your activity accounts in one place"), s.providerViews()}
		return s.render(w, http.StatusOK, "landing", v)
	}
	cards, err := s.cards(r, current.UserID, s.Activity.Of)
	if err != nil {
		return err
	}
	v := s.newHome(r, s.view(r, "Your days"), cards)
	v.follow(r, "/")
	return s.render(w, http.StatusOK, "home", v)
}

func (s *server) newHome(r *http.Request, v view, cards []card) homeView {
	by := reader{time.Now().In(s.zoneOf(r)), unitsOf(r) == auth.Imperial}
	return homeView{newCardsView(v, cards), newFeed(cards, by)}
}

// connections is the page on which each connection has its card.
func (s *server) connections(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	cards, err := s.cards(r, current.UserID, s.Activity.WithoutEntries)
	if err != nil {
		return err
	}
	v := connectionsView{newCardsView(s.view(r, "Connections"), cards)}
	for i := range v.Cards {
		v.Cards[i].Notice = v.claim(atCard(v.Cards[i].Key))
	}
	v.follow(r, connectionsPath)
	return s.render(w, http.StatusOK, "connections", v)
}

const connectionsPath = "/connections"

func cardPath(provider string) string { return connectionsPath + "#" + atCard(provider) }

// follow makes the page keep itself up to date while something is being fetched.
func (v *cardsView) follow(r *http.Request, path string) {
	if v.Fetching() {
		v.Script, v.Reload = true, lookAgain(r, path)
	}
}

// privacy says what is kept, in the words of docs/security.md.
func (s *server) privacy(w http.ResponseWriter, r *http.Request) error {
	return s.render(w, http.StatusOK, "privacy", s.view(r, "Privacy"))
}

// maxLooks is how often a page loads itself again in a browser without scripts.
const maxLooks = 6

// lookAgain is the address that a browser without scripts loads next; "" after maxLooks. It has no fragment: with one,
// browsers would stay on the page that they have.
func lookAgain(r *http.Request, path string) string {
	looks := 0
	if asked := r.URL.Query().Get("looks"); asked != "" {
		var err error
		if looks, err = strconv.Atoi(asked); err != nil || looks < 0 || looks >= maxLooks {
			return ""
		}
	}
	return path + "?looks=" + strconv.Itoa(looks+1)
}

// connectionsNow and daysNow serve the part of a page that changes while something is being fetched, for the page's
// script. They leave the notice for the next page.
func (s *server) connectionsNow(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	cards, err := s.cards(r, current.UserID, s.Activity.WithoutEntries)
	if err != nil {
		return err
	}
	v := connectionsView{newCardsView(view{Reload: connectionsPath}, cards)}
	return s.renderPart(w, http.StatusOK, "connections", "connections", v)
}

func (s *server) daysNow(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	cards, err := s.cards(r, current.UserID, s.Activity.Of)
	if err != nil {
		return err
	}
	return s.renderPart(w, http.StatusOK, "home", "days", s.newHome(r, view{Reload: "/"}, cards))
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
			Key: p.Key, Name: p.Name, FullName: cmp.Or(p.FullName, p.Name), Offers: p.Offer,
			Revoking: overview.Revoking(p.Key), Events: eventsInWords(p, overview.History[p.Key], zone),
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
	v.Connected, v.Account, v.Subject = true, c.Name, c.Subject
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
