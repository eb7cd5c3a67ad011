// Package session keeps people signed in: across requests, restarts, deploys and instances.
//
// A session is one row of cairn.sessions (pgxstore's layout: token, data, expiry; plus our columns) and one cookie.
// The row begins when somebody signs in and is gone when they sign out; a visitor who does neither has no cookie, no
// row and causes no query. scs keeps the data of a request and makes tokens; what it and pgxstore leave open is
// closed here:
//
//	handler.go  the request: find the row, buffer the answer, save before its first byte, send the cookie
//	signin.go   sign-in and new tokens: one transaction with what a person proves or changes
//	store.go    the statements: insert at sign-in, update otherwise, and zero rows updated means the session is gone
//	lookup.go   requests that look at the same moment share one SELECT
//	codec.go    the data column: JSON; what does not decode is no session
//	intent.go   what a person wants to do once they have re-authenticated
//	ending.go   the list of a person's sessions, ending them, and why one ended
//	upkeep.go   expired rows, and when a session was last seen
//
// Proof and act are one. What a person has proven (a password, a provider's account, a recent session) was true when
// it was checked, and need not be true any more when it is acted on. So it is proven again in the transaction of the
// act, under a lock on the row that proves it, which the owner of that row takes: auth.StillProven for credentials,
// Manager.StillLive for sessions. SignIn and ChangeAccess lead such transactions. They lock in one order, so that
// none waits for another in a circle: user, credential, connection, session. Account removal takes the user's row
// alone first (FOR UPDATE), changes of sign-in methods take it FOR NO KEY UPDATE, everything else that refers to a
// user FOR KEY SHARE.
//
// SignIn, ChangeAccess and SignOut happen at once; a notice (Flash) is stored when the answer is ready. The cookie
// goes out with the answer, and an answer whose session was ended meanwhile is thrown away. All expiry is by the
// database's clock.
package session

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// DB is what a statement needs; a pool and a transaction both have it.
type DB interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

var (
	// ErrNone says that there is no session to change: the request is a visitor's.
	ErrNone = errors.New("session: nobody is signed in")
	// ErrEnded says that the session was ended while its request ran.
	ErrEnded = errors.New("session: ended meanwhile")
)

// Options are the promises a Manager makes.
type Options struct {
	Pool        *pgxpool.Pool
	Lifetime    time.Duration // without a visit, sliding; 30 days if zero
	MaxLifetime time.Duration // since sign-in, never extended; 365 days if zero
	Secure      bool          // the site is served over https
	// LookupTimeout is how long a request waits for its session at most, if it may last that long. 10 s if zero.
	LookupTimeout time.Duration
	// StatementTimeout is the least time that is allowed for saving a session, even if the request
	// may not last that long. 3 s if zero.
	StatementTimeout time.Duration
}

// Hooks are what the middleware needs of the routes it guards.
type Hooks struct {
	Address func(*http.Request) string // the client's, written down at sign-in
	// Gone answers a request whose session was ended while it ran; Failed one whose session can't be read or saved.
	Gone   http.HandlerFunc
	Failed func(http.ResponseWriter, *http.Request, error)
}

// Manager reads, begins, renews and ends sessions. Its methods are safe for concurrent use.
type Manager struct {
	Options
	scs   *scs.SessionManager
	store store

	mu   sync.Mutex
	seen map[string]bool // tokens (hashed) of sessions to mark as seen
}

// Session is a signed-in person's session, as found at the start of the request.
type Session struct {
	ID        int64
	UserID    int64
	Name      string // the user's
	AvatarURL string
	Method    string // how they signed in: "password" or a provider's key
	Created   time.Time
	Kept      bool // it outlives the browser
	Recent    bool // this person has just signed in, by a method that still is one (RecentAt)

	methodRemoved bool // Method is no sign-in method of the user's any more
}

// RecentAt tells whether this person had just signed in at t, a time of the database's.
func (s Session) RecentAt(t time.Time) bool {
	return !s.methodRemoved && t.Before(s.Created.Add(recently))
}

// renewEvery bounds how often a sliding session is extended: a write a day, not one a request.
const renewEvery = 24 * time.Hour

// seenEvery bounds how often it is written down that a session was used.
const seenEvery = 5 * time.Minute

// recently is how long somebody counts as having just signed in.
const recently = 10 * time.Minute

// briefly is how long a session lasts, and its cookie at the most, that is not kept.
const briefly = 12 * time.Hour

// New returns a Manager with the defaults filled in.
func New(o Options) *Manager {
	if o.Lifetime == 0 {
		o.Lifetime = 30 * 24 * time.Hour
	}
	if o.MaxLifetime == 0 {
		o.MaxLifetime = 365 * 24 * time.Hour
	}
	if o.LookupTimeout == 0 {
		o.LookupTimeout = 10 * time.Second
	}
	if o.StatementTimeout == 0 {
		o.StatementTimeout = 3 * time.Second
	}
	m := &Manager{Options: o, scs: scs.New(), store: newStore(o), seen: map[string]bool{}}
	m.scs.Store = m.store
	m.scs.Codec = jsonCodec{}
	m.scs.HashTokenInStore = true
	m.scs.Lifetime = o.MaxLifetime
	return m
}

// CookieName is "__Host-session" over https, where browsers guard that prefix, and "session" on plain http, where they
// refuse it.
func CookieName(secure bool) string {
	if secure {
		return "__Host-session"
	}
	return "session"
}

// Current returns the session of the request and whether somebody is signed in.
func Current(ctx context.Context) (Session, bool) {
	if rq, ok := ctx.Value(requestKey{}).(*request); ok && rq.found != nil && !rq.ended {
		return *rq.found, true
	}
	return Session{}, false
}

// Known tells whether the middleware has looked for a session. On pages for errors before that, or of that, nobody
// knows whether somebody is signed in.
func Known(ctx context.Context) bool { return ctx.Value(requestKey{}) != nil }

// Lost tells whether the request brought the token of a session that is over, or never was. Ended may tell why.
func Lost(ctx context.Context) bool {
	rq, ok := ctx.Value(requestKey{}).(*request)
	return ok && rq.found == nil && rq.dead != ""
}

// SignOut deletes the row of the current session, if there is one, and clears the cookie.
func (m *Manager) SignOut(ctx context.Context) error {
	rq := requestOf(ctx)
	if rq.found != nil {
		if err := m.scs.Destroy(ctx); err != nil {
			return err
		}
	}
	rq.ended = true
	return nil
}

// Flash keeps a message for the next page this session shows.
func (m *Manager) Flash(ctx context.Context, message string) {
	requestOf(ctx).flash = message
}

// TakeFlash returns the message kept for this page, once.
func (m *Manager) TakeFlash(ctx context.Context) string {
	if _, ok := Current(ctx); !ok {
		return ""
	}
	return m.scs.PopString(ctx, flashKey)
}

const flashKey = "flash"

// requestOf panics where the middleware is missing: that is a mistake in the route table, not a condition.
func requestOf(ctx context.Context) *request {
	return ctx.Value(requestKey{}).(*request)
}
