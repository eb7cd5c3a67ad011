package routes

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"

	"cairn/internal/auth"
	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/session"
)

// Warning is the page before something irreversible: what it is, what is lost, a button that does it, and a link
// back. The form posts to the address of the page.
type Warning struct {
	view
	Provider *providerView // nil: it is about none
	Heading  string
	Lead     string
	Losses   []Loss
	Manage   Link // where only the person can revoke Cairn's access; without a label: we do it
	Button   string
	Harmless bool   // the button does nothing irreversible
	About    string // a field of the form that says what was asked; "": the address of the page does
	Keep     Link
}

// Loss is one of the consequences.
type Loss struct{ Icon, Text, Detail string }

func (s *server) warn(w http.ResponseWriter, r *http.Request, v Warning) error {
	v.view = s.view(r, v.Heading)
	return s.render(w, http.StatusOK, "warning", v)
}

func (s *server) disconnectPage(w http.ResponseWriter, r *http.Request) error {
	p, err := s.provider(chi.URLParam(r, "provider"))
	if err != nil {
		return err
	}
	current, _ := session.Current(r.Context())
	overview, err := s.Connections.Overview(r.Context(), current.UserID)
	if err != nil {
		return err
	}
	c, connected := overview.Connections[p.Key]
	if !connected {
		return &providerError{p, connection.ErrNotFound}
	}
	revocable := c.Revocable(p)
	v := Warning{
		Provider: &providerView{Key: p.Key, Name: p.Name}, Heading: "Disconnect " + p.Name + "?",
		Lead: connectedInWords(c, s.zoneOf(r)), Losses: lostWith(p, revocable), Manage: manageAt(p, revocable),
		Button: "Disconnect " + p.Name, Keep: Link{"Keep it connected", cardPath(p.Key)},
	}
	still, err := s.stillSignsInWith(r, p)
	if err != nil {
		return err
	}
	v.Losses = append(v.Losses, still...)
	return s.warn(w, r, v)
}

// stillSignsInWith says that disconnecting a provider leaves it as a sign-in method, if it is one.
func (s *server) stillSignsInWith(r *http.Request, p *oauth.Provider) ([]Loss, error) {
	current, _ := session.Current(r.Context())
	account, err := s.Accounts.Get(r.Context(), current.UserID)
	if err != nil || !account.SignsInWith(p.Key) {
		return nil, err
	}
	return []Loss{{"key", "You can still sign in with " + p.Name, "And connect it again at any time"}}, nil
}

func connectedInWords(c connection.Connection, zone *time.Location) string {
	lead := "Connected since " + c.Since.In(zone).Format("2 January 2006")
	if c.Name != "" {
		lead += " as " + c.Name
	}
	return lead + "."
}

// lostWith lists what is lost with the connection to a provider. revocable says that we revoke our access there.
func lostWith(p *oauth.Provider, revocable bool) []Loss {
	losses := []Loss{{"trash", "Cairn deletes what it has from " + p.Name, "And its access to " + p.Name}}
	if revocable {
		losses = append(losses, Loss{"plug-connected-x", "We’ll ask " + p.Name + " to remove Cairn’s access",
			"And keep asking until it confirms"})
	}
	return losses
}

// manageAt links to the provider if only the person can revoke Cairn's access there.
func manageAt(p *oauth.Provider, revocable bool) Link {
	if revocable {
		return Link{}
	}
	return Link{"Remove Cairn at " + p.Name, p.ManageURL}
}

// removeIdentityPage warns before a provider is removed as a sign-in method, and disconnected.
func (s *server) removeIdentityPage(w http.ResponseWriter, r *http.Request) error {
	m, methods, account, err := s.ownMethod(r, true)
	switch {
	case err != nil:
		return err
	case account.Methods() == 1:
		return auth.ErrLastMethod
	}
	v := Warning{
		Provider: &providerView{Key: m.Key, Name: m.Name}, Lead: m.Label(),
		Heading: "Remove " + m.Name + " as a sign-in method?",
		Losses: []Loss{{"key", "You can no longer sign in with this " + m.Name + " account",
			stillSignsIn(account, methods, m.ID)}},
		Button: "Remove " + m.Name, Keep: Link{"Keep it", "/account#" + atMethods},
	}
	if p, err := s.provider(m.Key); err == nil && m.Connected {
		v.Button = "Remove and disconnect " + p.Name
		v.Losses = append(v.Losses, lostWith(p, m.Revocable)...)
		v.Manage = manageAt(p, m.Revocable)
	}
	v.Losses = append(v.Losses, othersEnd)
	return s.warn(w, r, v)
}

var othersEnd = Loss{"logout", "You’ll be signed out on your other devices", "You stay signed in here"}

func (s *server) removePasswordPage(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	account, cards, err := s.accountAndCards(r, current.UserID)
	switch {
	case err != nil:
		return err
	case !account.Password:
		return errNoPage
	case account.Methods() == 1:
		return auth.ErrLastMethod
	}
	without := account
	without.Password = false
	return s.warn(w, r, Warning{
		Heading: "Remove your password?",
		Losses: []Loss{{"password", "You can no longer sign in with " + account.Email + " and your password",
			stillSignsIn(without, methodsOf(account, cards), 0)}, othersEnd},
		Button: "Remove password", Keep: Link{"Keep it", "/account#" + atMethods},
	})
}

// stillSignsIn names the sign-in methods that are left without one identity.
func stillSignsIn(account auth.Account, methods []signInMethod, without int64) string {
	var left []string
	if account.Password {
		left = append(left, "your password")
	}
	if slices.ContainsFunc(account.Passkeys, func(k auth.Passkey) bool { return k.SignsIn }) {
		left = append(left, "a passkey")
	}
	for _, m := range methods {
		if m.SignsIn && m.ID != without && !slices.Contains(left, m.Name) {
			left = append(left, m.Name)
		}
	}
	return "You can still sign in with " + enumerated(left, "or")
}

func (s *server) endSessionPage(w http.ResponseWriter, r *http.Request) error {
	d, err := s.ownDevice(r)
	if err != nil {
		return err
	}
	name, zone := browserInWords(d.UserAgent), s.zoneOf(r)
	seen := d.LastSeen.In(zone)
	v := Warning{
		Heading: "Sign out " + name + "?",
		Lead: "Signed in on " + d.Created.In(zone).Format("2 January 2006") +
			", last seen on " + seen.Format("2 January 2006, 15:04") + utc(seen) + ".",
		Losses: []Loss{{"logout", "That session ends at once", "To continue there, sign in again"}},
		Button: "Sign out " + name, Keep: Link{"Keep it signed in", "/account#" + atSessions},
	}
	return s.warn(w, r, v)
}

// ownDevice returns the session that the address names, if it is one of the person's own.
func (s *server) ownDevice(r *http.Request) (session.Device, error) {
	id, err := strconv.ParseInt(chi.URLParam(r, "id"), 10, 64)
	if err != nil {
		return session.Device{}, errNoPage
	}
	current, _ := session.Current(r.Context())
	devices, _, err := s.Sessions.Newest(r.Context(), current.UserID, id, 1)
	if err != nil {
		return session.Device{}, err
	}
	if len(devices) == 0 || devices[0].ID != id {
		return session.Device{}, errNoPage
	}
	return devices[0], nil
}

func (s *server) endOtherSessionsPage(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	_, all, err := s.Sessions.Newest(r.Context(), current.UserID, current.ID, 1)
	if err != nil {
		return err
	}
	ending := "Your one other session ends at once"
	switch others := all - 1; {
	case others < 1:
		ending = "This is your only active session"
	case others > 1:
		ending = fmt.Sprintf("Your %d other sessions end at once", others)
	}
	return s.warn(w, r, Warning{
		Heading: "Sign out everywhere else?", Losses: []Loss{{"logout", ending, "You stay signed in here"}},
		Button: "Sign out everywhere else", Keep: Link{"Leave them signed in", "/account#" + atSessions},
	})
}
