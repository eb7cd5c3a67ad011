package routes

import (
	"crypto/rand"
	"net/http"
	"time"
)

// Cookies with a random value, beside the session's: by them a browser is known, and nobody is signed in.
const (
	attemptCookie = "signin"  // of a browser that signs in with a provider, for as long as an attempt lasts
	browserCookie = "browser" // of one that has signed in before (auth.RememberBrowser)
)

// cookieName has, over https, a prefix by which browsers keep a cookie to this host.
func (s *server) cookieName(name string) string {
	if s.PublicURL.Scheme == "https" {
		return "__Host-" + name
	}
	return name
}

// cookie returns the value of a random cookie, "" if the browser has none.
func (s *server) cookie(r *http.Request, name string) string {
	cookie, err := r.Cookie(s.cookieName(name))
	if err != nil || len(cookie.Value) != len(rand.Text()) {
		return ""
	}
	return cookie.Value
}

func (s *server) setCookie(w http.ResponseWriter, name, value string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: s.cookieName(name), Value: value, Path: "/", MaxAge: int(life.Seconds()),
		HttpOnly: true, Secure: s.PublicURL.Scheme == "https", SameSite: http.SameSiteLaxMode,
	})
}
