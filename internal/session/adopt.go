package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
)

// Adopter finds sessions that another server began, and that go on here.
type Adopter interface {
	// Find returns the session of another server that a request brings, and whether it may go on here.
	Find(ctx context.Context, r *http.Request) (f Foreign, ok bool, err error)
	// Claim notes, in the transaction that begins a session here, that the other server's goes on here, and reports
	// whether it does so for the first time. It checks again what Find has checked. It locks the user.
	Claim(ctx context.Context, tx pgx.Tx, f Foreign) (first bool, err error)
	// Leave notes that the session which a request brings does not go on here, because the user has signed out.
	Leave(ctx context.Context, r *http.Request, userID int64) error
	// Adopted is called when a session has begun here that replaces one of the other server's.
	Adopted(ctx context.Context, f Foreign)
}

// Foreign is a session of another server.
type Foreign struct {
	ID         []byte // the hash of its id
	Theirs     string // its id
	Token      string // of our session in its place: always the same, so that overlapping requests set one cookie
	UserID     int64
	Method     string
	Created    time.Time // not after its beginning here
	Persistent bool
	Adopted    bool // it went on here before: its token is good as long as our session is
}

// adopt signs a visitor in who brings a session of another server. A session of ours that took its place and has ended
// since, or has another token now, does not come back: the claim stays.
func (m *Manager) adopt(ctx context.Context, rq *request, r *http.Request) error {
	f, ok, err := m.Adopter.Find(ctx, r)
	if err != nil || !ok {
		return err
	}
	if !f.Adopted {
		var first bool
		err := pgx.BeginFunc(ctx, m.Pool, func(tx pgx.Tx) (err error) {
			first, err = m.beginAdopted(ctx, tx, rq, f)
			return err
		})
		switch {
		case errors.Is(err, ErrEnded): // over there, meanwhile
			return nil
		case err != nil:
			return err
		case first:
			m.Adopter.Adopted(ctx, f)
		}
	}
	hash := hashToken(f.Token)
	rows, err := m.store.query(ctx, []string{hash})
	if err != nil {
		return fmt.Errorf("session: find an adopted session: %w", err)
	}
	if rows[hash] == nil || rows[hash].UserID != f.UserID { // it changed hands over there
		return nil
	}
	rq.found, rq.stored, rq.staleToken = rows[hash], hash, ""
	rq.token = newToken{f.Token, f.Persistent, rows[hash].Created.Add(m.MaxLifetime).Sub(rows[hash].now)}
	rq.adopted = true
	return nil
}

// beginAdopted inserts our session, which replaces another server's, if that is claimed for the first time.
func (m *Manager) beginAdopted(ctx context.Context, tx pgx.Tx, rq *request, f Foreign) (first bool, err error) {
	first, err = m.Adopter.Claim(ctx, tx, f)
	if err != nil || !first {
		return false, err
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO cairn.sessions (token, data, created, expiry, user_id, method, kept, address, user_agent)
		SELECT $1, '{}', created, LEAST(now() + $3::interval, created + $4::interval), $5, $6, $7, $8, $9
		FROM (SELECT LEAST(now(), $2::timestamptz) AS created) c
		ON CONFLICT (token) DO NOTHING`,
		hashToken(f.Token), f.Created, m.store.lifetime(f.Persistent), m.MaxLifetime, f.UserID, f.Method, f.Persistent,
		rq.address, rq.browser())
	if err != nil {
		return false, fmt.Errorf("session: adopt: %w", err)
	}
	_, err = m.mirror(ctx, tx, hashToken(f.Token), f.Theirs)
	return true, err
}

// leave keeps a session of another server that the browser has beside ours from being adopted after a sign-out.
func (m *Manager) leave(ctx context.Context, rq *request) error {
	if m.Adopter == nil {
		return nil
	}
	ctx, cancel := m.store.finishing(ctx)
	defer cancel()
	return m.Adopter.Leave(ctx, rq.came, rq.found.UserID)
}

// keepAdopted drops the token of an adopted session from the response if the session has ended or got another token
// meanwhile: the browser has that one, and a late response must not put the old one in its place.
func (m *Manager) keepAdopted(rq *request) error {
	if !rq.adopted || hashToken(rq.token.value) != rq.stored {
		return nil
	}
	ctx, cancel := m.store.finishing(rq.data)
	defer cancel()
	var live bool
	err := m.Pool.QueryRow(ctx, `
		SELECT true FROM cairn.sessions WHERE token = $1 AND now() < expiry`, rq.stored).Scan(&live)
	if errors.Is(err, pgx.ErrNoRows) {
		rq.token = newToken{}
		return nil
	}
	if err != nil {
		return fmt.Errorf("session: look at an adopted session again: %w", err)
	}
	return nil
}
