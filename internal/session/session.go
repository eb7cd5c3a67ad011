// Package session keeps people signed in: across requests, restarts, deploys and instances.
//
// A session is one row of cairn.sessions (pgxstore's layout: token, data, expiry; plus our columns) and one cookie.
// The row is inserted at sign-in and deleted at sign-out. A visitor has no cookie, has no row and causes no query. scs
// holds the data of a request and makes tokens. What scs and pgxstore leave open is closed here:
//
//	session.go  kinds of errors, and the Manager
//	handler.go  the request: find the row, buffer the response, save before its first byte, set the cookie
//	buffer.go   the response that is held back
//	token.go    tokens and their cookie
//	signin.go   sign-in and new tokens, each in one transaction with what a person proves or changes
//	store.go    the statements: insert at sign-in, update otherwise; no row updated means that the session is gone
//	lookup.go   requests that look for a session at the same time share one SELECT
//	codec.go    the data column: JSON; data that does not decode is no session
//	intent.go   what a person wants to do once they have re-authenticated
//	ending.go   ending sessions, and why one ended
//	list.go     one person's sessions, and everyone's
//	adopt.go    sessions that another server began
//	stream.go   answers that are too long to hold back
//	export.go   a person's sessions in the archive that they download
//	mirror.go   sessions that another server can take over
//	upkeep.go   removing expired rows, and recording when a session was last seen
//
// A transaction that relies on a credential or a session checks it again (docs/sessions.md, "Proof and act"). SignIn
// and ChangeAccess lead such transactions, and package access puts them together. All lock in the same order, so that
// there is no deadlock: the challenge of a passkey, addresses, user, credential, code, connection, browser, session.
// Deleting or disabling an account locks the user's row first, FOR UPDATE. A change of sign-in methods locks it FOR NO
// KEY UPDATE: one at a time, so that two removals can't each leave the other's method as the last. Everything else that
// refers to a user locks it FOR KEY SHARE.
//
// A session that began with one factor is not recent if the account has a second one. So whatever needs a recent
// sign-in needs two factors then.
//
// SignIn, ChangeAccess and SignOut take effect at once. A notice (Flash) is stored when the response is complete. The
// cookie is sent with the response, and the response of a session that has ended meanwhile is discarded. All expiry is
// by the database's clock.
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
	// ErrNoSession says that there is no such session, or that the request is a visitor's.
	ErrNoSession = errors.New("session: no such session")
	// ErrEnded says that the session ended while its request ran.
	ErrEnded = errors.New("session: ended meanwhile")
)

// Options configure a Manager.
type Options struct {
	Pool        *pgxpool.Pool
	Lifetime    time.Duration // of an unused session, sliding; 30 days if zero
	MaxLifetime time.Duration // since sign-in, never extended; 365 days if zero
	Secure      bool          // the site is served over https
	// Unproven are methods that don't prove who is there. A session that began with one is never recent.
	Unproven []string
	// Adopter finds sessions that another server began; nil: there is no other.
	Adopter Adopter
	// Mirror keeps sessions where another server finds them; nil: nothing does.
	Mirror Mirror
	// LookupTimeout limits how long a request waits for its session, within the request's own deadline. 10 s if zero.
	LookupTimeout time.Duration
	// StatementTimeout is the least time allowed for saving a session, even past the request's deadline. 3 s if zero.
	StatementTimeout time.Duration
}

// Hooks are what the middleware needs from the routes.
type Hooks struct {
	Address func(*http.Request) string // the client's address, which a sign-in records
	// Gone answers a request whose session was ended while it ran, Failed one whose session can't be read or saved.
	Gone   http.HandlerFunc
	Failed func(http.ResponseWriter, *http.Request, error)
	// ForPage reports whether a request asks for a page, so that it may bring a session of another server, or take the
	// cookie of one (Options.Adopter, Options.Mirror). May be nil.
	ForPage func(*http.Request) bool
}

// Manager reads, begins, renews and ends sessions. Its methods are safe for concurrent use.
type Manager struct {
	Options
	scs   *scs.SessionManager
	store store

	mu      sync.Mutex
	touched map[string]bool // hashed tokens of sessions that were used since SaveLastSeen
}

// Session is a signed-in person's session, as found at the start of the request.
type Session struct {
	ID         int64
	UserID     int64
	Name       string // the user's
	AvatarURL  string
	TimeZone   string // the user's, of the IANA database; "": not known
	Units      string // the user's choice, "metric" or "imperial"; "": none
	Method     string // the sign-in method: "password", a provider's key, or another of cairn.sign_in_methods
	Created    time.Time
	Persistent bool // it outlives the browser: "Keep me signed in"
	Recent     bool // RecentAt the time of the request
	TwoFactors bool // the sign-in proved two factors

	methodRemoved bool // Method is no longer a sign-in method of the user
	unproven      bool // Method is one of Options.Unproven
	needsTwo      bool // re-authentication takes two factors, because the account has a second one
}

// RecentAt reports whether the sign-in was recent at t, by the database's clock, so that an act at t needs no
// re-authentication. A sign-in is not recent if its method has been removed or proves nothing, or if it proved one
// factor and the account has two.
func (s Session) RecentAt(t time.Time) bool {
	return !s.methodRemoved && !s.unproven && (s.TwoFactors || !s.needsTwo) &&
		t.Before(s.Created.Add(recentSignIn))
}

const (
	nonPersistentLifetime = 12 * time.Hour   // of a session that ends with the browser
	renewAfter            = 24 * time.Hour   // between two extensions of a sliding session: one write a day
	touchAfter            = 5 * time.Minute  // between two updates of last_seen
	recentSignIn          = 10 * time.Minute // how long a sign-in counts as recent
)

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
	m := &Manager{Options: o, scs: scs.New(), store: newStore(o), touched: map[string]bool{}}
	m.scs.Store = m.store
	m.scs.Codec = jsonCodec{}
	m.scs.Lifetime = o.MaxLifetime
	return m
}

// Current returns the session of the request and whether a user is signed in.
func Current(ctx context.Context) (Session, bool) {
	if rq, ok := ctx.Value(requestKey{}).(*request); ok && rq.found != nil && !rq.ended {
		return rq.found.Session, true
	}
	return Session{}, false
}

// Loaded reports whether the middleware has looked for a session. On an error page from before that, it is unknown
// whether a user is signed in.
func Loaded(ctx context.Context) bool { return ctx.Value(requestKey{}) != nil }

// Stale reports whether the request has the token of a session that has ended, or never was. Ended may say why.
func Stale(ctx context.Context) bool {
	rq, ok := ctx.Value(requestKey{}).(*request)
	return ok && rq.found == nil && rq.staleToken != ""
}

// SignOut deletes the current session, if there is one, and clears the cookie. A session of another server that the
// browser has, too, does not sign in again.
func (m *Manager) SignOut(ctx context.Context) error {
	rq := requestOf(ctx)
	if rq.found != nil {
		if err := m.leave(ctx, rq); err != nil {
			return err
		}
		if err := m.scs.Destroy(ctx); err != nil {
			return err
		}
	}
	rq.ended = true
	return nil
}

// Flash stores a message for the next page of this session.
func (m *Manager) Flash(ctx context.Context, message string) {
	requestOf(ctx).flash = message
}

// PopFlash returns the message for this page and removes it.
func (m *Manager) PopFlash(ctx context.Context) string {
	if _, ok := Current(ctx); !ok {
		return ""
	}
	return m.scs.PopString(ctx, flashKey)
}

const flashKey = "flash"

// requestOf panics where the middleware is missing: that is a mistake in the route table.
func requestOf(ctx context.Context) *request {
	return ctx.Value(requestKey{}).(*request)
}
