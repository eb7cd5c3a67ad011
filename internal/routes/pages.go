package routes

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"time"

	"cairn/internal/activity"
	"cairn/internal/oauth"
	"cairn/internal/session"
)

type landingView struct {
	view
	Providers []providerView
}

type homeView struct {
	view
	Cards []card
}

// Fetching tells whether there is more to come soon.
func (v homeView) Fetching() bool {
	return slices.ContainsFunc(v.Cards, func(c card) bool { return c.Latest != nil && c.Latest.Fetching })
}

// Broken are the cards of connections that only their owner can mend.
func (v homeView) Broken() (broken []card) {
	for _, c := range v.Cards {
		if c.State == "needs_reconnect" {
			broken = append(broken, c)
		}
	}
	return broken
}

// card is one provider on the home page.
type card struct {
	Key, Name   string
	FullName    string
	Notice      *notice
	Connected   bool
	State       string // "active", "limited", "trouble", "paused" or "needs_reconnect"
	StateText   string
	Problem     string
	Account     string
	PictureURL  string
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
	Latest      *entriesView // nil: none are shown
	Attribution string
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
	cards, err := s.cards(r, current.UserID)
	if err != nil {
		return err
	}
	v := homeView{s.view(r, "Connections"), connectedFirst(cards)}
	for i := range cards {
		cards[i].Notice = v.claim(atCard(cards[i].Key))
	}
	if v.Fetching() {
		v.Script, v.Reload = true, lookAgain(r)
	}
	return s.render(w, r, http.StatusOK, "home", v)
}

// maxLooks is how often a browser without scripts looks again by itself.
const maxLooks = 6

// lookAgain is where a browser without scripts sees what has come meanwhile; "" when it has looked often enough. The
// address has no fragment: with one, browsers would stay on the page that they have.
func lookAgain(r *http.Request) string {
	looks := 0
	if asked := r.URL.Query().Get("looks"); asked != "" {
		var err error
		if looks, err = strconv.Atoi(asked); err != nil || looks < 0 || looks >= maxLooks {
			return ""
		}
	}
	return "/?looks=" + strconv.Itoa(looks+1)
}

// connectionsNow is the part of the home page that changes while something is fetched, for the script on it. It
// leaves the notice to the next page.
func (s *server) connectionsNow(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	cards, err := s.cards(r, current.UserID)
	if err != nil {
		return err
	}
	return s.renderPart(w, http.StatusOK, "home", "connections", homeView{view{Reload: "/"}, connectedFirst(cards)})
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

func (s *server) cards(r *http.Request, userID int64) ([]card, error) {
	overview, err := s.Connections.Overview(r.Context(), userID)
	if err != nil {
		return nil, err
	}
	kept := map[string]activity.Latest{}
	if len(overview.Connections) > 0 {
		if kept, err = s.Activity.Of(r.Context(), userID); err != nil {
			return nil, err
		}
	}
	var cards []card
	zone := s.zoneOf(r)
	for _, p := range s.Providers {
		v := card{
			Key: p.Key, Name: p.Name, FullName: cmp.Or(p.FullName, p.Name), Offers: offers[p.Key],
			Withdrawing: overview.Withdrawing(p.Key), Events: eventsInWords(p, overview.History[p.Key], zone),
		}
		if connection, connected := overview.Connections[p.Key]; connected {
			v.show(p, connection, kept[p.Key], zone)
		}
		cards = append(cards, v)
	}
	return cards, nil
}

var offers = map[string]string{
	"garmin":     "Lets Cairn receive the activities your watch records, and the health data you choose to share.",
	"foursquare": "Lets Cairn see your profile and your check-ins.",
	"strava":     "Lets Cairn see your profile and your activities. You choose at Strava which.",
}

// show says how a connection is by its last real answer.
func (v *card) show(p *oauth.Provider, c oauth.Connection, kept activity.Latest, zone *time.Location) {
	v.Connected, v.Account, v.PictureURL, v.Subject = true, c.Name, c.PictureURL, c.Subject
	v.Since, v.CheckedAt, v.InState, v.RetryAt = c.Since.In(zone), c.CheckedAt.In(zone), c.InState.In(zone), c.RetryAt.In(zone)
	v.ManageURL = p.ManageURL
	v.Permissions, v.Missing = p.InWords(c.Granted), p.Missing(c.Granted)
	v.State, v.StateText, v.Problem = stateOf(p, c)
	v.Attribution = attributions[p.Key]
	if c.State != oauth.NeedsReconnect && activity.Permitted(p.Key, c.Granted) {
		v.Latest = viewOf(p, kept, zone)
	}
}
