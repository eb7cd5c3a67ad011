package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/db"
)

// Mirror keeps sessions where another server finds them, so that it can take over. If a session ends or gets another
// token, whatever the cause, what Mirror wrote for it is removed in the same transaction.
type Mirror interface {
	// Lookup returns what is joined to the statement that reads sessions, s, and expressions: whether the other server
	// has ended a session, whether it lacks it, and its id there, '' for none.
	Lookup() (join, ended, lacking, id string)
	// Unusable is called when that can't be read, or when Write or Renew fails. Sessions here go on without.
	Unusable(err error)
	// Write writes a session that begins, or has a new token, and returns the other server's cookie; nil: it has none.
	// Errors: ErrEnded if the other server's session, which goes on here, has ended meanwhile.
	Write(ctx context.Context, tx pgx.Tx, w Mirrored) (*http.Cookie, error)
	// Renew writes that a session ends later.
	Renew(ctx context.Context, tx pgx.Tx, w Mirrored) error
	// Supply writes a session that the other server lacks, and returns its cookie; nil: it has none. Another session
	// of that user there, which the request brings in its place, ends.
	Supply(ctx context.Context, tx pgx.Tx, w Mirrored, r *http.Request) (*http.Cookie, error)
	// Brought reports whether a request brings the cookie of the session with an id there.
	Brought(r *http.Request, id string) bool
	// Clear clears the other server's cookie.
	Clear(w http.ResponseWriter)
}

// Mirrored is a session as another server has it.
type Mirrored struct {
	SessionID, UserID int64
	Expiry, Limit     time.Time // Limit is its absolute one
	Persistent        bool
	// Theirs is the id of the other server's session that goes on here, which stays; "": it has none yet.
	Theirs string
}

// mirror writes the session with a token for the other server.
func (m *Manager) mirror(ctx context.Context, tx pgx.Tx, token, theirs string) (*http.Cookie, error) {
	if m.Mirror == nil {
		return nil, nil
	}
	w, err := m.mirrored(ctx, tx, token)
	if err != nil {
		return nil, err
	}
	w.Theirs = theirs
	var cookie *http.Cookie
	err = m.despite(ctx, tx, func(tx pgx.Tx) (err error) {
		cookie, err = m.Mirror.Write(ctx, tx, w)
		return err
	})
	return cookie, err
}

// mirrored locks the session with a token.
func (m *Manager) mirrored(ctx context.Context, tx pgx.Tx, token string) (w Mirrored, err error) {
	var created time.Time
	err = tx.QueryRow(ctx, `
		SELECT id, user_id, LEAST(expiry, created + $2::interval), created, kept FROM cairn.sessions
		WHERE token = $1 FOR NO KEY UPDATE`, token, m.MaxLifetime).
		Scan(&w.SessionID, &w.UserID, &w.Expiry, &created, &w.Persistent)
	if err != nil {
		return Mirrored{}, fmt.Errorf("session: read what to mirror: %w", err)
	}
	w.Limit = created.Add(m.MaxLifetime)
	return w, nil
}

// despite writes for the other server. What can't be written there must not keep anybody out here; what may succeed on
// another try, and the end of a session, are the caller's.
func (m *Manager) despite(ctx context.Context, tx pgx.Tx, write func(pgx.Tx) error) error {
	err := pgx.BeginFunc(ctx, tx, write)
	if err == nil || errors.Is(err, ErrEnded) || db.Transient(err) {
		return err
	}
	m.Mirror.Unusable(err)
	return nil
}

// query reads live sessions, and whether the other server has ended them. If that can't be read, it ends none.
func (s store) query(ctx context.Context, tokens []string) (map[string]*row, error) {
	if s.Mirror == nil {
		return s.read(ctx, s.plain, tokens)
	}
	rows, err := s.read(ctx, s.mirrored, tokens)
	if err != nil && !db.Unavailable(err) {
		s.Mirror.Unusable(err)
		return s.read(ctx, s.plain, tokens)
	}
	return rows, err
}

// endedElsewhere ends a session that the other server has ended.
func (m *Manager) endedElsewhere(ctx context.Context, token string) error {
	join, ended, _, _ := m.Mirror.Lookup()
	_, err := end(ctx, m.Pool, SignedOut,
		`id IN (SELECT s.id FROM cairn.sessions s `+join+` WHERE s.token = $2 AND `+ended+`)`, token)
	return err
}

// supply gives the other server a session that it lacks, and the browser the cookie of that. The session may have begun
// before there was a Mirror, or the answer with the cookie was lost. A failure does not fail the page: the next one
// tries again.
func (m *Manager) supply(rq *request, response http.ResponseWriter) {
	if m.Mirror == nil || !rq.forPage {
		return
	}
	if !rq.found.lacking && (rq.found.theirs == "" || m.Mirror.Brought(rq.came, rq.found.theirs)) {
		return
	}
	ctx, cancel := m.store.finishing(rq.data)
	defer cancel()
	var cookie *http.Cookie
	err := pgx.BeginFunc(ctx, m.Pool, func(tx pgx.Tx) error {
		// What is written refers to the user, who is locked before a session.
		_, err := tx.Exec(ctx, `SELECT FROM cairn.users WHERE id = $1 FOR KEY SHARE`, rq.found.UserID)
		if err != nil {
			return err
		}
		w, err := m.mirrored(ctx, tx, rq.stored)
		if err != nil {
			return err
		}
		return m.despite(ctx, tx, func(tx pgx.Tx) (err error) {
			cookie, err = m.Mirror.Supply(ctx, tx, w, rq.came)
			return err
		})
	})
	if err == nil && cookie != nil {
		http.SetCookie(response, cookie)
	}
}
