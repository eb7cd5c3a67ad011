package access

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"

	"github.com/jackc/pgx/v5"

	"cairn/internal/auth"
	"cairn/internal/connection"
	"cairn/internal/mail"
	"cairn/internal/oauth"
	"cairn/internal/session"
)

// SignIn says how a session begins.
type SignIn struct {
	Persistent bool      // the session outlives the browser
	Browser    string    // the token of a known browser; "": none
	Intent     string    // the id of what the person wanted to do (session.PutIntent); "": nothing
	Invitation auth.Link // that this browser holds; the zero Link: none
}

// SignedIn is what a sign-in led to.
type SignedIn struct {
	UserID  int64
	Browser string // the token of this browser, which is a known one now
	Act     string // what the intent was about; "" also if it was another user's
	// OtherAccount says that the person has another account of the provider connected, which stays.
	OtherAccount bool
}

// SignUp makes an account and signs in. Errors: auth.ErrEmailTaken, auth.ErrUninvited.
func (a *Access) SignUp(ctx context.Context, n auth.NewAccount, in SignIn) (SignedIn, error) {
	return a.signIn(ctx, PasswordMethod, in, func(ctx context.Context, tx pgx.Tx, _ *SignedIn) (int64, error) {
		return a.Accounts.Create(ctx, tx, n.By(in.Invitation))
	})
}

// SignInWithPassword signs in with a password that was checked, if it is still the account's. Errors:
// auth.ErrCredentials.
func (a *Access) SignInWithPassword(ctx context.Context, proof auth.Proof, in SignIn) (SignedIn, error) {
	return a.signIn(ctx, PasswordMethod, in, func(ctx context.Context, tx pgx.Tx, _ *SignedIn) (int64, error) {
		return proof.UserID, a.Accounts.StillProven(ctx, tx, proof)
	})
}

// SignInWithPasskey signs in with a passkey whose answer was checked. Errors: auth.ErrPasskey, auth.ErrChallenge.
func (a *Access) SignInWithPasskey(ctx context.Context, proof auth.PasskeyProof, in SignIn) (SignedIn, error) {
	return a.signIn(ctx, PasskeyMethod, in, func(ctx context.Context, tx pgx.Tx, _ *SignedIn) (int64, error) {
		return proof.UserID, a.Accounts.UsePasskey(ctx, tx, proof)
	})
}

// SignInWithProvider signs in the owner of a provider's account, and makes an account at the first visit. It stores the
// tokens, too, unless that person has connected another account of this provider. Errors: auth.ErrCredentials.
func (a *Access) SignInWithProvider(ctx context.Context, g oauth.Grant, in SignIn) (SignedIn, error) {
	return a.signIn(ctx, g.Provider.Key, in, func(ctx context.Context, tx pgx.Tx, done *SignedIn) (int64, error) {
		userID, other, err := a.OwnerOf(ctx, tx, g, in.Invitation)
		done.OtherAccount = other
		return userID, err
	})
}

// OwnerOf returns the owner of a provider's account, and makes an account here at the first visit. It stores the
// tokens, too, unless that person has connected another account of this provider. Errors: auth.ErrCredentials,
// auth.ErrUnconfirmed.
func (a *Access) OwnerOf(
	ctx context.Context, tx pgx.Tx, g oauth.Grant, invitation auth.Link,
) (userID int64, otherAccount bool, err error) {
	userID, identityID, err := a.Accounts.FindOrCreate(ctx, tx, auth.Visitor{
		Provider: g.Provider.Key, Subject: g.Subject, Name: g.Name, AvatarURL: g.PictureURL, Invitation: invitation,
	})
	if err != nil {
		return 0, false, err
	}
	err = a.Connections.Connect(ctx, tx, g, userID, identityID)
	if errors.Is(err, connection.ErrOtherAccount) {
		return userID, true, nil
	}
	return userID, false, err
}

// SignInBy signs in by a method of another package. prove checks the credential, locks the user and then the credential
// (auth.KeepUser), and returns whose it is. Errors: prove's.
func (a *Access) SignInBy(ctx context.Context, method string, in SignIn, prove Prove) (SignedIn, error) {
	return a.signIn(ctx, method, in, func(ctx context.Context, tx pgx.Tx, _ *SignedIn) (int64, error) {
		return prove(ctx, tx)
	})
}

// signIn begins a session. In its transaction prove checks the credential again, this browser becomes a known one, and
// the intent is consumed.
func (a *Access) signIn(ctx context.Context, method string, in SignIn,
	prove func(context.Context, pgx.Tx, *SignedIn) (userID int64, err error),
) (done SignedIn, err error) {
	done.Browser = cmp.Or(in.Browser, rand.Text())
	err = a.Sessions.SignIn(ctx, method, in.Persistent, func(ctx context.Context, tx pgx.Tx) (int64, error) {
		if done.UserID, err = prove(ctx, tx, &done); err != nil {
			return 0, err
		}
		if done.Act, err = a.consumeIntent(ctx, tx, done.UserID, in.Intent); err != nil {
			return 0, err
		}
		isNew, err := a.Accounts.RememberBrowser(ctx, tx, done.UserID, done.Browser)
		if err == nil && isNew {
			err = a.Accounts.Tell(ctx, tx, done.UserID, mail.NewBrowser, mail.Facts{"method": method})
		}
		return done.UserID, err
	})
	return done, err
}

// consumeIntent returns what an intent of the user who signs in again is about. One of another user, whose session ends
// now, is dropped.
func (a *Access) consumeIntent(ctx context.Context, tx pgx.Tx, userID int64, id string) (act string, err error) {
	current, ok := session.Current(ctx)
	if !ok || id == "" || current.UserID != userID {
		return "", nil
	}
	return a.Sessions.ConsumeIntent(ctx, tx, id)
}
