package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/alexedwards/scs/v2"
)

type requestKey struct{}

// request is the state of one request's session. It belongs to the request's goroutine.
type request struct {
	came       *http.Request   // as the middleware got it
	forPage    bool            // Hooks.ForPage
	found      *row            // the session at the start of the request; nil: a visitor
	stored     string          // the hash of its token, of the new one after a sign-in; "": there is no session
	staleToken string          // the hash of a token that led to no session
	data       context.Context // carries scs's data of the session, of the new one after a sign-in
	ended      bool            // it was signed out
	adopted    bool            // another server began it
	theirs     *http.Cookie    // of another server, together with a new token; nil: none
	clearStale bool            // why the session of the stale token ended was read, so the cookie can be cleared
	flash      string          // the notice for the next page
	address    string
	userAgent  string

	response *bufferedResponse

	write write    // stores the session while its token is replaced
	token newToken // the token of that
}

// Handler is the middleware that gives requests their session. The response is held back until the session is saved: if
// the save fails or finds the session gone, another response takes its place, and no cookie is sent that was not
// stored.
func (m *Manager) Handler(hooks Hooks) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.serve(w, r, next, hooks) })
	}
}

func (m *Manager) serve(w http.ResponseWriter, r *http.Request, next http.Handler, hooks Hooks) {
	w.Header().Add("Vary", "Cookie")
	rq := &request{came: r, address: hooks.Address(r), userAgent: r.UserAgent()}
	rq.forPage = hooks.ForPage != nil && hooks.ForPage(r)
	ctx := context.WithValue(r.Context(), requestKey{}, rq)
	if err := m.load(ctx, w, r, rq); err != nil {
		hooks.Failed(w, r, err)
		return
	}
	if rq.found != nil {
		w.Header().Set("Cache-Control", "no-store")
	}
	response := newBufferedResponse(w)
	rq.response = response
	defer m.sendTokenAfterPanic(rq, response)
	next.ServeHTTP(response, r.WithContext(rq.data))
	if response.streamed {
		m.touch(rq)
		return
	}
	switch err := m.save(rq, response); {
	case errors.Is(err, ErrEnded):
		response.discard()
		hooks.Gone(w, r)
	case err != nil:
		response.discard()
		hooks.Failed(w, r, err)
	default:
		response.send()
		m.touch(rq)
	}
	rq.token.value = ""
}

// sendTokenAfterPanic puts the new token of a handler that panicked into the error page, because the old token is no
// longer good.
func (m *Manager) sendTokenAfterPanic(rq *request, b *bufferedResponse) {
	if rq.token.value != "" {
		b.discard()
		m.setCookies(b, rq)
	}
}

// load finds the session of a request and hands its data to scs. Data that does not decode is no session, and the
// cookie is cleared.
func (m *Manager) load(ctx context.Context, w http.ResponseWriter, r *http.Request, rq *request) (err error) {
	token := m.readToken(r)
	if token != "" {
		if err := m.find(ctx, rq, hashToken(token)); err != nil {
			return err
		}
	}
	if rq.found == nil && m.Adopter != nil && rq.forPage {
		if err := m.adopt(ctx, rq, r); err != nil {
			return err
		}
		token = rq.token.value
	}
	if rq.found == nil {
		token = ""
	}
	rq.data, err = m.scs.Load(ctx, token)
	if !errors.Is(err, errUndecodable) {
		return err
	}
	rq.found, rq.stored, rq.token = nil, "", newToken{}
	m.clearCookie(w)
	rq.data, err = m.scs.Load(ctx, "")
	return err
}

func (m *Manager) find(ctx context.Context, rq *request, hash string) (err error) {
	rq.found, err = m.store.lookups.find(ctx, hash)
	if err == nil && rq.found != nil && rq.found.endedElsewhere {
		rq.found, err = nil, m.endedElsewhere(ctx, hash)
	}
	switch {
	case err != nil:
		return fmt.Errorf("session: find: %w", err)
	case rq.found == nil:
		rq.staleToken = hash
	default:
		rq.stored = hash
	}
	return nil
}

// save stores what the handler changed in the session's data, and sets or clears the cookie where that has to change. A
// notice that can't be stored or removed does not fail the page.
func (m *Manager) save(rq *request, b *bufferedResponse) error {
	switch {
	case rq.ended, rq.clearStale && rq.token.value == "":
		m.clearCookie(b)
		if m.Mirror != nil && rq.ended {
			m.Mirror.Clear(b)
		}
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
	if err := m.keepAdopted(rq); err != nil {
		return err
	}
	if rq.token.value != "" {
		m.setCookies(b, rq)
		return nil
	}
	if m.store.needsRenewal(rq.found) {
		m.renew(rq)
	}
	m.supply(rq, b)
	return nil
}
