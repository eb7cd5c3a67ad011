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

// Refreshable tells whether anything can be fetched.
func (v homeView) Refreshable() bool { return slices.ContainsFunc(v.Cards, card.canRefresh) }

// FetchingFrom names the providers that are being asked.
func (v homeView) FetchingFrom() string {
	var names []string
	for _, c := range v.Cards {
		if c.Fetching() {
			names = append(names, c.Name)
		}
	}
	return inWordsAnd(names)
}

type connectionsView struct{ cardsView }

// cardsView is what pages share that show a person's connections.
type cardsView struct {
	view
	Cards []card
}

func newCardsView(v view, cards []card) cardsView {
	c := cardsView{view: v, Cards: connectedFirst(cards)}
	c.NeedsYou = needYou(cards)
	return c
}

// needYou counts the connections that only their owner can mend.
func needYou(cards []card) (n int) {
	for _, c := range cards {
		if c.State == "needs_reconnect" {
			n++
		}
	}
	return n
}

// Connected tells whether there is any connection.
func (v cardsView) Connected() bool {
	return slices.ContainsFunc(v.Cards, func(c card) bool { return c.Connected })
}

// Fetching tells whether there is more to come soon.
func (v cardsView) Fetching() bool {
	return slices.ContainsFunc(v.Cards, card.Fetching)
}

// Broken are the cards of connections that only their owner can mend.
func (v cardsView) Broken() (broken []card) {
	for _, c := range v.Cards {
		if c.State == "needs_reconnect" {
			broken = append(broken, c)
		}
	}
	return broken
}

// UpToDate names the connections that are well.
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
	return inWordsAnd(names) + " are up to date."
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

func inWordsAnd(names []string) string {
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " and " + names[last]
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
	Withdrawing bool   // not connected any more, and the provider has not confirmed yet
	ManageURL   string
	Latest      *latestView // nil: none are shown
	Pictured    bool
	fresh       bool // fetched a moment ago
	Attribution string
}

// Fetching tells whether the provider is being asked now.
func (c card) Fetching() bool { return c.Latest != nil && c.Latest.Fetching }

// canRefresh tells whether what is new can be fetched.
func (c card) canRefresh() bool {
	return c.State == "active" && c.Latest != nil && c.Latest.Refreshable
}

// RefreshPath is where the card's one button for it goes: to fetch what is new where that works, and else to ask the
// provider whether the connection does.
func (c card) RefreshPath() string {
	if c.canRefresh() {
		return "/connections/" + c.Key + "/refresh"
	}
	return "/connections/" + c.Key + "/check"
}

func (s *server) home(w http.ResponseWriter, r *http.Request) error {
	current, ok := session.Current(r.Context())
	if !ok && session.Stale(r.Context()) {
		see(w, r, "/login") // which says why
		return nil
	}
	if !ok {
		v := landingView{s.view(r, "Your activity accounts in one place"), s.providerViews()}
		return s.render(w, r, http.StatusOK, "landing", v)
	}
	cards, err := s.cards(r, current.UserID, s.Activity.Of)
	if err != nil {
		return err
	}
	v := s.newHome(r, s.view(r, "Your days"), cards)
	v.follow(r, "/")
	return s.render(w, r, http.StatusOK, "home", v)
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
	return s.render(w, r, http.StatusOK, "connections", v)
}

const connectionsPath = "/connections"

func cardPath(provider string) string { return connectionsPath + "#" + atCard(provider) }

// follow has the page brought up to date while something is fetched.
func (v *cardsView) follow(r *http.Request, path string) {
	if v.Fetching() {
		v.Script, v.Reload = true, lookAgain(r, path)
	}
}

// privacy says what is kept, in the words of docs/security.md.
func (s *server) privacy(w http.ResponseWriter, r *http.Request) error {
	return s.render(w, r, http.StatusOK, "privacy", s.view(r, "Privacy"))
}

// maxLooks is how often a browser without scripts looks again by itself.
const maxLooks = 6

// lookAgain is where a browser without scripts sees what has come meanwhile; "" when it has looked often enough. The
// address has no fragment: with one, browsers would stay on the page that they have.
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

// connectionsNow and daysNow are the parts of pages that change while something is fetched, for the script on them.
// They leave the notice to the next page.
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
			Withdrawing: overview.Revoking(p.Key), Events: eventsInWords(p, overview.History[p.Key], zone),
		}
		if at, connected := overview.Connections[p.Key]; connected {
			v.show(p, at, kept[p.Key], zone)
		}
		cards = append(cards, v)
	}
	return cards, nil
}

// show says how a connection is by its last real answer.
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
