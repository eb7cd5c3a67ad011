package routes

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"cairn/internal/latest"
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
	if !ok {
		return s.render(w, r, http.StatusOK, "landing", landingView{s.view(r, "Your activity accounts in one place"), s.providerViews()})
	}
	cards, err := s.cards(r, current.UserID)
	if err != nil {
		return err
	}
	v := homeView{s.view(r, "Connections"), cards}
	if slices.ContainsFunc(cards, func(c card) bool { return c.Latest != nil && c.Latest.Fetching }) {
		v.Reload = reloadEvery
		if v.Notice != nil { // it is to be read in peace
			s.tell(r, v.Notice.Kind, v.Notice.Text)
		}
	}
	return s.render(w, r, http.StatusOK, "home", v)
}

func (s *server) cards(r *http.Request, userID int64) ([]card, error) {
	overview, err := s.Connections.Overview(r.Context(), userID)
	if err != nil {
		return nil, err
	}
	kept := map[string]latest.Latest{}
	if len(overview.Connections) > 0 {
		if kept, err = s.Latest.Of(r.Context(), userID); err != nil {
			return nil, err
		}
	}
	var cards []card
	for _, p := range s.Providers {
		v := card{
			Key: p.Key, Name: p.Name, FullName: cmp.Or(p.FullName, p.Name), Offers: offers[p.Key],
			Withdrawing: overview.Withdrawing(p.Key), Events: eventsInWords(p, overview.History[p.Key]),
		}
		if connection, connected := overview.Connections[p.Key]; connected {
			v.show(p, connection, kept[p.Key])
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
func (v *card) show(p *oauth.Provider, c oauth.Connection, kept latest.Latest) {
	v.Connected, v.Account, v.PictureURL, v.Subject = true, c.Name, c.PictureURL, c.Subject
	v.Since, v.CheckedAt, v.InState, v.RetryAt, v.ManageURL = c.Since, c.CheckedAt, c.InState, c.RetryAt, p.ManageURL
	v.Permissions, v.Missing = p.InWords(c.Granted), p.Missing(c.Granted)
	v.State, v.StateText, v.Problem = stateOf(p, c)
	v.Attribution = attributions[p.Key]
	if c.State != oauth.NeedsReconnect && latest.Permitted(p.Key, c.Granted) {
		v.Latest = viewOf(p, kept)
	}
}
