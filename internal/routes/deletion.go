package routes

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"cairn/internal/access"
	"cairn/internal/oauth"
	"cairn/internal/session"
)

// deletionView is the page on which an account is deleted.
type deletionView struct {
	view
	Name      string
	Connected []*oauth.Provider // the person's
}

// deletedView says what happened with an account.
type deletedView struct {
	view
	Told   []*oauth.Provider // that are being told
	Manual []*oauth.Provider // that only the person can tell
}

func (s *server) deletion(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	overview, err := s.Connections.Overview(r.Context(), current.UserID)
	if err != nil {
		return err
	}
	v := deletionView{view: s.view(r, "Delete your account"), Name: current.Name}
	for _, p := range s.Providers {
		if _, ok := overview.Connections[p.Key]; ok {
			v.Connected = append(v.Connected, p)
		}
	}
	return s.render(w, r, http.StatusOK, "delete", v)
}

// deleteAccount removes everything of the signed-in person at once, has the providers told, and leads to a page that
// says so.
func (s *server) deleteAccount(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	gone, err := s.access.Delete(r.Context(), current.UserID)
	if err != nil {
		return err
	}
	s.Log.InfoContext(r.Context(), "account deleted", "id", requestID(r.Context()), "user", current.UserID)
	http.SetCookie(w, s.farewell(gone))
	see(w, r, deletedPath)
	return nil
}

const deletedPath = "/account/deleted"

// farewell is a cookie that says for ten minutes what the page after a deletion has to tell: there is no session any
// more that could keep it, and an address could be given to others.
func (s *server) farewell(gone access.Deleted) *http.Cookie {
	told := url.Values{"told": {keysOf(gone.Revoking)}, "manual": {keysOf(gone.Manual)}}
	return &http.Cookie{
		Name: "deleted", Value: told.Encode(), Path: deletedPath, MaxAge: 600,
		HttpOnly: true, Secure: s.PublicURL.Scheme == "https", SameSite: http.SameSiteLaxMode,
	}
}

func (s *server) deleted(w http.ResponseWriter, r *http.Request) error {
	cookie, err := r.Cookie("deleted")
	if _, signedIn := session.Current(r.Context()); signedIn || err != nil {
		see(w, r, "/")
		return nil
	}
	told, _ := url.ParseQuery(cookie.Value) // one that is not ours tells of no providers
	w.Header().Set("Cache-Control", "no-store")
	return s.render(w, r, http.StatusOK, "deleted", deletedView{
		s.view(r, "Your account is deleted"), s.providersOf(told.Get("told")), s.providersOf(told.Get("manual")),
	})
}

func keysOf(providers []*oauth.Provider) string {
	keys := make([]string, len(providers))
	for i, p := range providers {
		keys[i] = p.Key
	}
	return strings.Join(keys, " ")
}

func (s *server) providersOf(keys string) (providers []*oauth.Provider) {
	for _, p := range s.Providers {
		if slices.Contains(strings.Fields(keys), p.Key) {
			providers = append(providers, p)
		}
	}
	return providers
}
