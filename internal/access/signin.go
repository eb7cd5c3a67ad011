package access

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"

	"github.com/jackc/pgx/v5"

	"cairn/internal/auth"
	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/session"
)

// SignIn says how a session begins.
type SignIn struct {
	Persistent bool      // the session outlives the browser
	Browser    string    // the token of a known browser; "": none
	Intent     string    // the id of what the person wanted to do (session.PutIntent); "": nothing
	Invitation auth.Link // that this browser holds; the zero Link: none
	Trust      bool      // this browser needs no code for auth.TrustLife

	twoFactors bool // the sign-in has proven two
}

// SignedIn is what a sign-in led to.
type SignedIn struct {
	UserID  int64
	Browser string // the token of this browser, which is a known one now
	Act     string // what the intent was about; "" also if it was another user's
	// OtherAccount says that the person has another account of the provider connected, which stays.
	OtherAccount bool
}

// CodeNeeded says that the first factor is right, and that the account has a second one. SignInWithCode goes on.
type CodeNeeded struct{ Pending auth.Pending }

func (*CodeNeeded) Error() string { return "access: the sign-in waits for a code" }

// SignUp makes an account and signs in. Errors: auth.ErrEmailTaken, auth.ErrUninvited.
func (a *Access) SignUp(ctx context.Context, n auth.NewAccount, in SignIn) (SignedIn, error) {
	return a.signIn(ctx, PasswordMethod, in, func(ctx context.Context, tx pgx.Tx, _ *SignedIn) (auth.Proof, error) {
		userID, err := a.Accounts.Create(ctx, tx, n.By(in.Invitation))
		return auth.Proof{UserID: userID}, err
	})
}

// SignInWithPassword signs in with a password that was checked, if it is still the account's. Errors:
// auth.ErrCredentials, *CodeNeeded.
func (a *Access) SignInWithPassword(ctx context.Context, proof auth.Proof, in SignIn) (SignedIn, error) {
	return a.signIn(ctx, PasswordMethod, in, func(ctx context.Context, tx pgx.Tx, _ *SignedIn) (auth.Proof, error) {
		return proof, a.Accounts.StillProven(ctx, tx, proof)
	})
}

// SignInWithCode signs in with a first factor that was proven before, and a code that was checked, if both are still
// good. Errors: auth.ErrCredentials, auth.ErrCode, auth.ErrDisabled.
func (a *Access) SignInWithCode(
	ctx context.Context, p auth.Pending, code auth.CodeProof, in SignIn,
) (SignedIn, error) {
	in.Persistent, in.twoFactors = p.Persistent, true
	return a.signIn(ctx, p.Method, in, func(ctx context.Context, tx pgx.Tx, _ *SignedIn) (auth.Proof, error) {
		if err := a.Accounts.StillProven(ctx, tx, p.Proof); err != nil {
			return auth.Proof{}, err
		}
		return p.Proof, a.Accounts.UseCode(ctx, tx, code)
	})
}

// SignInWithPasskey signs in with a passkey whose answer was checked. Errors: auth.ErrPasskey, auth.ErrChallenge.
func (a *Access) SignInWithPasskey(ctx context.Context, proof auth.PasskeyProof, in SignIn) (SignedIn, error) {
	in.twoFactors = true
	return a.signIn(ctx, PasskeyMethod, in, func(ctx context.Context, tx pgx.Tx, _ *SignedIn) (auth.Proof, error) {
		return auth.Proof{UserID: proof.UserID}, a.Accounts.UsePasskey(ctx, tx, proof)
	})
}

// SignInWithProvider signs in the owner of a provider's account, and makes an account at the first visit. It stores the
// tokens, too, unless that person has connected another account of this provider. Errors: auth.ErrCredentials,
// *CodeNeeded.
func (a *Access) SignInWithProvider(ctx context.Context, g oauth.Grant, in SignIn) (SignedIn, error) {
	done, err := a.signIn(ctx, g.Provider.Key, in,
		func(ctx context.Context, tx pgx.Tx, done *SignedIn) (proof auth.Proof, err error) {
			proof, done.OtherAccount, err = a.OwnerOf(ctx, tx, g, in.Invitation)
			return proof, err
		})
	if _, waits := errors.AsType[*CodeNeeded](err); !waits {
		return done, err
	}
	// The tokens are stored whether the code comes or not: the provider may have ended the earlier ones.
	stored := pgx.BeginFunc(ctx, a.Sessions.Pool, func(tx pgx.Tx) error {
		_, _, err := a.OwnerOf(ctx, tx, g, in.Invitation)
		return err
	})
	return SignedIn{}, cmp.Or(stored, err)
}

// OwnerOf returns the owner of a provider's account, and makes an account here at the first visit. It stores the
// tokens, too, unless that person has connected another account of this provider. Errors: auth.ErrCredentials,
// auth.ErrUnconfirmed.
func (a *Access) OwnerOf(
	ctx context.Context, tx pgx.Tx, g oauth.Grant, invitation auth.Link,
) (owner auth.Proof, otherAccount bool, err error) {
	owner, err = a.Accounts.FindOrCreate(ctx, tx, auth.Visitor{
		Provider: g.Provider.Key, Subject: g.Subject, Name: g.Name, AvatarURL: g.PictureURL, Invitation: invitation,
	})
	if err != nil {
		return auth.Proof{}, false, err
	}
	err = a.Connections.Connect(ctx, tx, g, owner.UserID, owner.IdentityID)
	if errors.Is(err, connection.ErrOtherAccount) {
		return owner, true, nil
	}
	return owner, false, err
}

// OwnerWithoutCode is OwnerOf for sign-ins that can't show a code: it refuses accounts that ask for one. Errors: those
// of OwnerOf, auth.ErrNeedsCode.
func (a *Access) OwnerWithoutCode(ctx context.Context, tx pgx.Tx, g oauth.Grant) (userID int64, err error) {
	owner, _, err := a.OwnerOf(ctx, tx, g, auth.Link{})
	if err != nil {
		return 0, err
	}
	needed, err := a.Accounts.NeedsCode(ctx, tx, &auth.Pending{Proof: owner}, "", false)
	if err == nil && needed {
		err = auth.ErrNeedsCode
	}
	return owner.UserID, err
}

// SignInBy signs in by a method of another package. prove checks the credential, locks the user and then the credential
// (auth.KeepUser), and returns whose it is. It can't show a code, so it signs nobody in to an account that asks for
// one. Errors: prove's, auth.ErrNeedsCode.
func (a *Access) SignInBy(ctx context.Context, method string, in SignIn, prove Prove) (SignedIn, error) {
	done, err := a.signIn(ctx, method, in, func(ctx context.Context, tx pgx.Tx, _ *SignedIn) (auth.Proof, error) {
		userID, err := prove(ctx, tx)
		return auth.Proof{UserID: userID}, err
	})
	if _, waits := errors.AsType[*CodeNeeded](err); waits {
		err = auth.ErrNeedsCode
	}
	return done, err
}

// signIn begins a session. In its transaction prove checks the credential again, this browser becomes a known one, and
// the intent is consumed.
func (a *Access) signIn(ctx context.Context, method string, in SignIn,
	prove func(context.Context, pgx.Tx, *SignedIn) (auth.Proof, error),
) (done SignedIn, err error) {
	done.Browser = cmp.Or(in.Browser, rand.Text())
	how := session.SignIn{Method: method, Persistent: in.Persistent, TwoFactors: in.twoFactors}
	err = a.Sessions.SignIn(ctx, how, func(ctx context.Context, tx pgx.Tx) (int64, error) {
		proof, err := prove(ctx, tx, &done)
		if err != nil {
			return 0, err
		}
		done.UserID = proof.UserID
		if err := a.askForCode(ctx, tx, method, in, proof); err != nil {
			return 0, err
		}
		if err := a.rememberBrowser(ctx, tx, method, in, done); err != nil {
			return 0, err
		}
		done.Act, err = a.consumeIntent(ctx, tx, done.UserID, in.Intent)
		return done.UserID, err
	})
	return done, err
}

// askForCode stops a sign-in with one factor if the account asks for a second one. Errors: *CodeNeeded.
func (a *Access) askForCode(ctx context.Context, tx pgx.Tx, method string, in SignIn, proof auth.Proof) error {
	if in.twoFactors {
		return nil
	}
	current, signedIn := session.Current(ctx)
	again := signedIn && current.UserID == proof.UserID
	pending := auth.Pending{Proof: proof, Method: method, Persistent: in.Persistent}
	needed, err := a.Accounts.NeedsCode(ctx, tx, &pending, in.Browser, again)
	if err == nil && needed {
		err = &CodeNeeded{pending}
	}
	return err
}

// rememberBrowser makes the browser of a sign-in a known one, and tells the account's owner if it is new.
func (a *Access) rememberBrowser(ctx context.Context, tx pgx.Tx, method string, in SignIn, done SignedIn) error {
	isNew, err := a.Accounts.RememberBrowser(ctx, tx, done.UserID, done.Browser)
	if err == nil && in.Trust {
		err = a.Accounts.Trust(ctx, tx, done.UserID, done.Browser)
	}
	if err == nil && isNew {
		err = a.Accounts.NotifyNewBrowser(ctx, tx, done.UserID, method)
	}
	return err
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
