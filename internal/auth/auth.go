// Package auth knows who has an account and which ways lead into it. It speaks no HTTP.
//
//	account.go   people: their name, their ways in
//	password.go  the way in by e-mail and password: sign up, sign in, set, change, remove
//	identity.go  the way in by a provider: an identity is (provider, the provider's id), never an e-mail or a name
//	proof.go     proving a credential again in the transaction that acts on it
//	browser.go   browsers that have signed in to an account before
//	hash.go      argon2id behind a limit on how much of it runs at once
//	strength.go  which passwords are refused
//	limits.go    the rate limits, all of them; how a person, a session, a network is named in one
//	limit.go     counting them in PostgreSQL for all instances
//
// An e-mail address is unproven until the server can send mail: it selects the password to compare
// with, and nothing else. Rules that must hold together run in one transaction; the schema ensures
// uniqueness.
package auth

import (
	"cmp"
	"errors"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Kinds of errors. What a person reads about them is decided where pages are made.
var (
	ErrCredentials = errors.New("auth: e-mail and password do not match an account")
	ErrEmailTaken  = errors.New("auth: an account with this e-mail exists")
	ErrLastWay     = errors.New("auth: the last way in cannot be removed")
	ErrNotFound    = errors.New("auth: not found")
	ErrLinked      = errors.New("auth: the provider's account belongs to another user")
	ErrUnconfirmed = errors.New("auth: a new way in needs somebody who has just signed in")
	ErrBusy        = errors.New("auth: too many passwords are being checked")
)

// FieldError is a value that cannot be accepted, with a sentence for the person who typed it.
type FieldError struct {
	Field   string // "name", "email" or "password"
	Message string
}

func (e *FieldError) Error() string { return "auth: " + e.Field + " refused" }

// Accounts is the store of accounts. Make it with New.
type Accounts struct {
	Limits Limits

	pool    *pgxpool.Pool
	secret  []byte
	hash    *hasher
	refused func(limit string)
}

// Options are how accounts are kept. The zero value is for the real world.
type Options struct {
	Cost    Cost // of a password's hash
	Limits  Limits
	Refused func(limit string) // hears the name of a limit each time it refuses; may be nil
}

// New returns the accounts in a database. With secret, the same on all instances, the counters of limits are named so
// that their table tells nobody's address.
func New(pool *pgxpool.Pool, secret string, o Options) *Accounts {
	return &Accounts{
		Limits: cmp.Or(o.Limits, DefaultLimits()),
		pool:   pool, secret: []byte(secret), hash: newHasher(o.Cost), refused: o.Refused,
	}
}
