// Package auth is about accounts and their sign-in methods. It speaks no HTTP.
//
//	auth.go         kinds of errors, and the store
//	account.go      users: their name, their sign-in methods, their deletion
//	detail.go       an account with what else its owner sees of it
//	email.go        the address of a user
//	change.go       changing the address, and undoing that
//	undo.go         ending an undo early
//	reject.go       undoing what an intruder did since signing in
//	password.go     sign-in by e-mail and password: sign up, sign in, set, change, remove
//	identity.go     sign-in by a provider: an identity is (provider, the provider's id), never an e-mail or a name
//	passkey.go      sign-in by a passkey; passkeyuse.go has its challenges and answers
//	factor.go       authenticator apps, and what a second factor changes
//	code.go         checking and using codes, and sign-ins that wait for one
//	recovery.go     recovery codes
//	unconfirmed.go  identities that came with an import and don't sign in yet
//	import.go       making many accounts at once
//	signup.go       signing up by a link that proves the address
//	invite.go       for whom accounts are made, and invitations
//	reset.go        a new password by a link
//	link.go         links in messages; linkjob.go decides which are sent
//	operator.go     what only operators do
//	event.go        what happened to an account, and telling its owner
//	proof.go        checking a credential again in the transaction that acts on it
//	preferences.go  the time zone and the units of a user
//	messages.go     the messages that a user wants
//	browser.go      browsers that have signed in to an account before, and trusted ones
//	export.go       what of these is in the archive that a user downloads
//	hash.go         argon2id, with a limit on how many hashes run at once
//	strength.go     which passwords are refused
//	limits.go       all rate limits, and what they are counted for: a person, a session, a network
//	limit.go        counting in PostgreSQL for all instances
//
// An e-mail address that is not verified selects the password to compare with, and gets links that somebody asks for.
// Rules that must hold together run in one transaction; the schema ensures uniqueness.
package auth

import (
	"cmp"
	"errors"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/mail"
	"cairn/internal/passkey"
	"cairn/internal/seal"
)

// Kinds of errors. Package routes has the sentences that people read.
var (
	ErrCredentials = errors.New("auth: e-mail and password do not match an account")
	ErrEmailTaken  = errors.New("auth: an account with this e-mail exists")
	ErrLastMethod  = errors.New("auth: the last sign-in method cannot be removed")
	ErrNotFound    = errors.New("auth: not found")
	ErrLinked      = errors.New("auth: the provider's account belongs to another user")
	ErrUnconfirmed = errors.New("auth: the provider's account does not sign in until its owner confirms it")
	ErrNotRecent   = errors.New("auth: a new sign-in method needs a recent sign-in")
	ErrDisabled    = errors.New("auth: the operator has disabled the account")
	ErrUninvited   = errors.New("auth: no account is made without an invitation")
	ErrFactor      = errors.New("auth: the session has not proven a second factor, or it is too new")
	ErrBusy        = errors.New("auth: too many passwords are being checked")

	ErrPasskeyTaken    = errors.New("auth: the passkey is there already")
	ErrTooManyPasskeys = errors.New("auth: the account has as many passkeys as it may have")
	// ErrPasskey says that a passkey does not prove who is there, ErrChallenge that its answer comes too late or twice.
	ErrPasskey   = passkey.ErrRefused
	ErrChallenge = passkey.ErrChallenge
)

// FieldError says that a value in a form is refused, with a sentence for the person who typed it.
type FieldError struct {
	Field   string // "name", "email", "password", "code", "zone" or "units"
	Message string
}

func (e *FieldError) Error() string { return "auth: " + e.Field + " refused" }

// Accounts is the store of accounts. Make it with New.
type Accounts struct {
	Limits Limits

	pool      *pgxpool.Pool
	secret    []byte
	mail      *mail.Outbox
	passkeys  *passkey.Site // nil: this server can't have any
	sealer    *seal.Sealer
	codeClock func() time.Duration
	admission Admission
	hash      *hasher
	refused   func(limit string)
}

// Options configure Accounts. The zero value is for production.
type Options struct {
	Cost   Cost     // of a password's hash
	Known  []string // names that passwords must not consist of, because others would guess them first
	Limits Limits
	Mail   *mail.Outbox // nil: no mail is sent
	Site   *url.URL     // where browsers reach us; nil: there are no passkeys
	Sealer *seal.Sealer // of apps' secrets, and of sign-ins that wait for a code; nil: neither works
	// CodeClock returns how far the clock of codes is ahead of the database's, in tests; nil: not at all.
	CodeClock func() time.Duration
	Admission Admission          // "": Open
	Refused   func(limit string) // is called with the name of a limit when it refuses; may be nil
}

// New returns the accounts in a database. The secret, the same on all instances, keys the names of rate-limit counters,
// so that their table reveals no address, the tokens of links in messages, and the challenges of passkeys.
func New(pool *pgxpool.Pool, secret string, o Options) *Accounts {
	a := &Accounts{
		Limits: cmp.Or(o.Limits, DefaultLimits()),
		pool:   pool, secret: []byte(secret), mail: o.Mail, sealer: o.Sealer, codeClock: o.CodeClock,
		admission: cmp.Or(o.Admission, Open),
		hash:      newHasher(o.Cost, o.Known...), refused: o.Refused,
	}
	if a.codeClock == nil {
		a.codeClock = func() time.Duration { return 0 }
	}
	if o.Site != nil {
		a.passkeys = passkey.New(o.Site, secret)
	}
	return a
}
