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
	Connected []leaving
}

// leaving is a provider that the person has connected.
type leaving struct {
	*oauth.Provider
	Revocable bool // it can be asked to revoke our access
}

// deletedView is the page after an account was deleted.
type deletedView struct {
	view
	Revoking []*oauth.Provider // that are asked to revoke our access
	Manual   []*oauth.Provider // where only the person can revoke it
}

// RevokingNames names the providers that are asked to revoke our access.
func (v deletedView) RevokingNames() string { return namesOf(v.Revoking) }

func (s *server) deletion(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	overview, err := s.Connections.Overview(r.Context(), current.UserID)
	if err != nil {
		return err
	}
	v := deletionView{view: s.view(r, "Delete your account"), Name: current.Name}
	for _, p := range s.Providers {
		if c, ok := overview.Connections[p.Key]; ok {
			v.Connected = append(v.Connected, leaving{p, c.Revocable(p)})
		}
	}
	return s.render(w, http.StatusOK, "delete", v)
}

// deleteAccount deletes the signed-in user and all of their data at once, has the providers revoke our access, and
// redirects to a page that says so.
func (s *server) deleteAccount(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	gone, err := s.access.Delete(r.Context(), current.UserID)
	if err != nil {
		return err
	}
	s.Log.InfoContext(r.Context(), "account deleted", "id", requestID(r.Context()), "user", current.UserID)
	http.SetCookie(w, s.deletedCookie(gone))
	redirect(w, r, deletedPath)
	return nil
}

const deletedPath = "/account/deleted"

// deletedCookie holds for ten minutes what the page after a deletion shows. There is no session any more that could
// hold it, and an address could be passed on.
func (s *server) deletedCookie(gone access.Deleted) *http.Cookie {
	providers := url.Values{"told": {keysOf(gone.Revoking)}, "manual": {keysOf(gone.Manual)}}
	return &http.Cookie{
		Name: "deleted", Value: providers.Encode(), Path: deletedPath, MaxAge: 600,
		HttpOnly: true, Secure: s.PublicURL.Scheme == "https", SameSite: http.SameSiteLaxMode,
	}
}

func (s *server) deleted(w http.ResponseWriter, r *http.Request) error {
	cookie, err := r.Cookie("deleted")
	if _, signedIn := session.Current(r.Context()); signedIn || err != nil {
		redirect(w, r, "/")
		return nil
	}
	providers, _ := url.ParseQuery(cookie.Value) // a cookie that isn't ours names none
	w.Header().Set("Cache-Control", "no-store")
	return s.render(w, http.StatusOK, "deleted", deletedView{
		s.view(r, "Your account is deleted"), s.providersOf(providers.Get("told")),
		s.providersOf(providers.Get("manual")),
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
