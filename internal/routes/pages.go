package routes

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"cairn/internal/auth"
	"cairn/internal/session"
)

type landingView struct {
	view
	Names     string // of the providers, in a sentence; "": there are none
	Providers []providerView
}

type homeView struct {
	cardsView
	Feed         feed
	OfferPasskey bool
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

func (s *server) home(w http.ResponseWriter, r *http.Request) error {
	current, ok := session.Current(r.Context())
	if !ok && session.Stale(r.Context()) {
		redirect(w, r, "/login") // which says why
		return nil
	}
	if !ok {
		v := landingView{s.view(r, "Your activity accounts in one place"), namesOf(s.Providers), s.providerViews()}
		v.Summary = s.summary
		return s.render(w, http.StatusOK, "landing", v)
	}
	cards, err := s.cards(r, current.UserID, s.Activity.Of)
	if err != nil {
		return err
	}
	v := s.newHome(r, s.view(r, "Your days"), cards)
	v.follow(r, "/")
	if v.OfferPasskey, err = s.offersPasskey(r, current); err != nil {
		return err
	}
	return s.render(w, http.StatusOK, "home", v)
}

func (s *server) newHome(r *http.Request, v view, cards []card) homeView {
	by := reader{time.Now().In(s.zoneOf(r)), unitsOf(r) == auth.Imperial}
	return homeView{cardsView: newCardsView(v, cards), Feed: newFeed(cards, by)}
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
