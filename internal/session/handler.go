package session

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
)

type requestKey struct{}

// request is what one request knows and wants of its session. It belongs to the request's goroutine.
type request struct {
	data      context.Context // has scs's data of the session, of the new one after a sign-in
	stored    string          // the token, hashed, as it stands in the database; "" if nothing was found
	dead      string          // the token, hashed, that led to nothing
	found     *Session        // nil: a visitor
	now       time.Time       // the database's, when it was found
	due       bool            // the sliding expiry wants an extension
	unseen    bool            // last_seen is out of date
	ended     bool
	told      bool   // its person has been told why the dead token's session ended
	flash     string // the notice for the next page
	address   string
	userAgent string

	write     write         // what saving means while the token is replaced
	token     string        // the new one, to be sent; "": none
	kept      bool          // the session with the new token outlives the browser
	remaining time.Duration // how much older the session that was saved may get
}

// Handler is the middleware that gives requests their session. The answer is held back until the session is saved: a
// save that fails or finds the session gone replaces the whole answer, and no cookie is sent that was not stored.
func (m *Manager) Handler(hooks Hooks) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.serve(w, r, next, hooks) })
	}
}

func (m *Manager) serve(w http.ResponseWriter, r *http.Request, next http.Handler, hooks Hooks) {
	w.Header().Add("Vary", "Cookie")
	token := m.token(r)
	rq := &request{address: hooks.Address(r), userAgent: r.UserAgent()}
	ctx := context.WithValue(r.Context(), requestKey{}, rq)
	if err := m.load(ctx, w, rq, token); err != nil {
		hooks.Failed(w, r, err)
		return
	}
	if rq.found != nil {
		w.Header().Set("Cache-Control", "no-store")
	}
	answer := newAnswer(w)
	defer m.keepToken(rq, answer)
	next.ServeHTTP(answer, r.WithContext(rq.data))
	switch err := m.save(rq, answer); {
	case errors.Is(err, ErrEnded):
		answer.discard()
		hooks.Gone(w, r)
	case err != nil:
		answer.discard()
		hooks.Failed(w, r, err)
	default:
		answer.send()
		m.note(rq)
	}
	rq.token = ""
}

// keepToken sends the new token of a handler that panicked, with the answer that others make of that: the old one is
// dead.
func (m *Manager) keepToken(rq *request, a *answer) {
	if rq.token != "" {
		a.discard()
		m.writeCookie(a, rq.token, rq.remaining, rq.kept)
	}
}

// load finds the session. Data that does not decode is no session, and its cookie is of no use to anybody.
func (m *Manager) load(ctx context.Context, w http.ResponseWriter, rq *request, token string) (err error) {
	rq.data, err = m.scs.Load(ctx, token)
	if !errors.Is(err, errUndecodable) {
		return err
	}
	rq.found, rq.stored = nil, ""
	cleared := m.cookie("")
	cleared.MaxAge = -1
	http.SetCookie(w, cleared)
	rq.data, err = m.scs.Load(ctx, "")
	return err
}

// token returns the cookie's value if it could be one of ours: anything else is not worth a query.
func (m *Manager) token(r *http.Request) string {
	for _, cookie := range r.CookiesNamed(CookieName(m.Secure)) {
		if validToken(cookie.Value) {
			return cookie.Value
		}
	}
	return ""
}

// validToken tells whether a value has the shape of scs's tokens: 32 bytes in unpadded base64url.
func validToken(value string) bool {
	if len(value) != 43 || strings.ContainsAny(value, "\r\n") { // which the decoder skips
		return false
	}
	_, err := base64.RawURLEncoding.Strict().DecodeString(value)
	return err == nil
}

// save stores what the handler changed in the session's data, and writes the cookie into the answer if it has to be
// another one. A notice that can't be stored, or taken off, is no reason to take the page away.
func (m *Manager) save(rq *request, a *answer) error {
	switch {
	case rq.ended, rq.told && rq.token == "":
		m.writeCookie(a, "", 0, true)
		return nil
	case rq.stored == "":
		return nil
	}
	if rq.flash != "" {
		m.scs.Put(rq.data, flashKey, rq.flash)
	}
	if m.scs.Status(rq.data) == scs.Modified {
		if _, _, err := m.scs.Commit(rq.data); errors.Is(err, ErrEnded) {
			return err
		}
	}
	if rq.token != "" {
		m.writeCookie(a, rq.token, rq.remaining, rq.kept)
	} else if rq.due {
		m.store.renew(rq.data, rq.stored)
	}
	return nil
}

// maxCookieAge is what browsers cut longer cookies to (RFC 6265bis, section 5.5).
const maxCookieAge = 400 * 24 * time.Hour

// writeCookie sends the cookie, or clears it if there is no token. It lasts as long as the session may get old, so that
// only a new token is ever sent: an answer that sent the old one again, to extend it, could reach the browser after the
// answer with the new one. One that is not kept has no end of its own: browsers drop it when they are closed.
func (m *Manager) writeCookie(a *answer, token string, remaining time.Duration, kept bool) {
	cookie := m.cookie(token)
	switch {
	case token == "":
		cookie.MaxAge = -1
	case kept:
		cookie.MaxAge = int(min(remaining, maxCookieAge).Round(time.Second).Seconds())
	}
	http.SetCookie(a, cookie)
	a.Header().Set("Cache-Control", "no-store")
}

func (m *Manager) cookie(token string) *http.Cookie {
	return &http.Cookie{
		Name:     CookieName(m.Secure),
		Value:    token,
		Path:     "/",
		HttpOnly: true,
		Secure:   m.Secure,
		SameSite: http.SameSiteLaxMode,
	}
}

// answer holds a response back. It is deliberately no Flusher and no Hijacker, and drops 1xx answers: whatever goes out
// before the session is saved can't be taken back.
type answer struct {
	w       http.ResponseWriter
	before  http.Header // what was set before the handler ran
	status  int
	started bool
	body    bytes.Buffer
}

func newAnswer(w http.ResponseWriter) *answer {
	return &answer{w: w, before: maps.Clone(w.Header()), status: http.StatusOK}
}

func (a *answer) Header() http.Header { return a.w.Header() }

func (a *answer) WriteHeader(status int) {
	if a.started || status < 200 {
		return
	}
	a.status, a.started = status, true
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

func (a *answer) send() {
	if a.body.Len() > 0 {
		a.Header().Set("Content-Length", strconv.Itoa(a.body.Len()))
	}
	a.w.WriteHeader(a.status)
	_, _ = a.w.Write(a.body.Bytes()) // the browser has gone: nothing is lost, and nobody is left to tell
}

// discard leaves the response as it was before the handler ran.
func (a *answer) discard() {
	clear(a.Header())
	maps.Copy(a.Header(), a.before)
}
