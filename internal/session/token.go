package session

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

// hashToken returns a token as the database has it, so that a copy of the table can't be used to sign in. It is the
// hash of scs's HashTokenInStore.
func hashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// validToken reports whether a value has the shape of scs's tokens: 32 bytes in unpadded base64url.
func validToken(value string) bool {
	if len(value) != 43 || strings.ContainsAny(value, "\r\n") { // which the decoder skips
		return false
	}
	_, err := base64.RawURLEncoding.Strict().DecodeString(value)
	return err == nil
}

// cookieName is "__Host-session" over https, where browsers guard that prefix, and "session" on plain http, where they
// refuse it.
func cookieName(secure bool) string {
	if secure {
		return "__Host-session"
	}
	return "session"
}

// readToken returns the token in the request's cookie, "" if there is none. A value of another shape is not worth a
// query.
func (m *Manager) readToken(r *http.Request) string {
	for _, cookie := range r.CookiesNamed(cookieName(m.Secure)) {
		if validToken(cookie.Value) {
			return cookie.Value
		}
	}
	return ""
}

// maxCookieAge is what browsers shorten longer cookies to (RFC 6265bis, section 5.5).
const maxCookieAge = 400 * 24 * time.Hour

// newToken is a token to be sent, and what its cookie depends on.
type newToken struct {
	value      string        // "": there is none to send
	persistent bool          // the session outlives the browser
	remaining  time.Duration // until the session's absolute limit
}

// setCookie sends a new token. The cookie lasts as long as the session can, so that a cookie is sent for a new token
// only: a response that extended the present cookie could reach the browser after the one with a new token, and put the
// old one back. Without an age of its own, which a non-persistent session has, browsers drop the cookie when they are
// closed.
func (m *Manager) setCookie(w http.ResponseWriter, token newToken) {
	cookie := m.cookie(token.value)
	if token.persistent {
		cookie.MaxAge = int(min(token.remaining, maxCookieAge).Round(time.Second).Seconds())
	}
	m.writeCookie(w, cookie)
}

// setCookies is setCookie with the cookie of another server, if it has one for this token.
func (m *Manager) setCookies(w http.ResponseWriter, rq *request) {
	m.setCookie(w, rq.token)
	if rq.theirs != nil {
		http.SetCookie(w, rq.theirs)
	}
}

func (m *Manager) clearCookie(w http.ResponseWriter) {
	cookie := m.cookie("")
	cookie.MaxAge = -1
	m.writeCookie(w, cookie)
}

func (m *Manager) writeCookie(w http.ResponseWriter, cookie *http.Cookie) {
	http.SetCookie(w, cookie)
	w.Header().Set("Cache-Control", "no-store")
}

func (m *Manager) cookie(value string) *http.Cookie {
	return &http.Cookie{
		Name:     cookieName(m.Secure),
		Value:    value,
		Path:     "/",
		HttpOnly: true,
		Secure:   m.Secure,
		SameSite: http.SameSiteLaxMode,
	}
}
