// Package access decides who gets into an account: the use cases that cross sessions, accounts and connections. Each is
// one transaction, in the lock order that package session writes down.
//
//	access.go      what all have in common
//	signin.go      beginning a session: by a new account, a password, or a provider's account
//	connect.go     connecting an account of a provider to the account that is signed in
//	disconnect.go  disconnecting it
//	change.go      changing sign-in methods, and locking others out
//	factor.go      the second factor
//	reset.go       what links in messages do: a new password, a new account, an address
//	delete.go      deleting the account
//	disable.go     disabling an account
//
// The context is that of a request behind session.Manager.Handler, which writes the session's cookie, except when an
// operator acts. A known browser (auth.RememberBrowser) is identified by a token, which the caller keeps in a cookie.
package access

import (
	"context"

	"github.com/jackc/pgx/v5"

	"cairn/internal/auth"
	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/session"
)

// Access lets people into their accounts. All fields but the last are needed.
type Access struct {
	Sessions    *session.Manager
	Accounts    *auth.Accounts
	Connections *connection.Store
	Providers   oauth.Registry
	LockOut     []LockOut
}

// Prove checks a credential in the transaction of a sign-in, and returns whose it is.
type Prove func(context.Context, pgx.Tx) (userID int64, err error)

// LockOut ends what lets others into an account in a way that this package does not know. It is part of the transaction
// in which a person locks others out, or deletes the account, after the account's credentials are locked, and before
// sessions end.
type LockOut func(ctx context.Context, tx pgx.Tx, userID int64) error

// PasswordMethod is the method of a session that began with a password. A provider's method is its key.
const PasswordMethod = "password"

// PasskeyMethod is the method of a session that began with a passkey. The authenticator verified the person, so
// it stands for two factors.
const PasskeyMethod = "passkey"
