package routes

import (
	"crypto/rand"
	"net/http"
	"time"
)

// Cookies with a random value, by which we recognise a browser. They sign no one in.
const (
	attemptCookie = "signin"  // while a browser signs in with a provider
	passkeyCookie = "passkey" // while a browser asks for a passkey (passkey.Asked)
	codeCookie    = "code"    // while a sign-in waits for a code; sealed, not random (Accounts.Seal)
	browserCookie = "browser" // of a browser that has signed in before (auth.RememberBrowser)
)

// cookieName adds, over https, the prefix with which browsers accept a cookie from this host only.
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
