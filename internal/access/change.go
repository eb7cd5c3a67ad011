package access

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/jackc/pgx/v5"

	"cairn/internal/auth"
	"cairn/internal/connection"
	"cairn/internal/session"
)

// AddPassword adds a password to an account that has none. Errors: auth.ErrEmailTaken, *auth.FieldError.
func (a *Access) AddPassword(ctx context.Context, userID int64, n auth.NewPassword) error {
	return a.Sessions.ChangeAccess(ctx, "", func(ctx context.Context, tx pgx.Tx) (string, error) {
		return "", a.Accounts.AddPassword(ctx, tx, userID, n)
	})
}

// ChangePassword changes the password and locks others out. It returns the token of this browser.
func (a *Access) ChangePassword(ctx context.Context, c auth.PasswordChange) (browser string, err error) {
	return a.lockOthersOut(ctx, session.PasswordChanged, func(ctx context.Context, tx pgx.Tx) (string, error) {
		return "", a.Accounts.ChangePassword(ctx, tx, c)
	})
}

// RemovePassword removes the password and locks others out. It returns the token of this browser. Errors:
// auth.ErrLastMethod.
func (a *Access) RemovePassword(ctx context.Context, userID int64) (browser string, err error) {
	return a.lockOthersOut(ctx, session.MethodRemoved, func(ctx context.Context, tx pgx.Tx) (string, error) {
		return PasswordMethod, a.Accounts.RemovePassword(ctx, tx, userID)
	})
}

// AddPasskey adds a passkey, and returns its name, and the recovery codes if they come with it. The caller makes sure
// that the sign-in is recent. Errors: auth.ErrFactor, auth.ErrChallenge, auth.ErrPasskeyTaken, auth.ErrTooManyPasskeys.
func (a *Access) AddPasskey(
	ctx context.Context, userID int64, n auth.NewPasskey,
) (name string, codes []string, err error) {
	current, _ := session.Current(ctx)
	n.TwoFactors = current.TwoFactors
	err = a.Sessions.ChangeAccess(ctx, "", func(ctx context.Context, tx pgx.Tx) (string, error) {
		if name, codes, err = a.Accounts.AddPasskey(ctx, tx, userID, n); err != nil {
			return "", err
		}
		return "", a.Sessions.NoteSecondFactor(ctx, tx)
	})
	return name, codes, err
}

// RemovePasskey removes a passkey, and locks others out. It returns the passkey's name and the token of this browser.
// It isn't known which passkey began this session, so that is no longer recent, if one did. Errors: auth.ErrNotFound,
// auth.ErrLastMethod.
func (a *Access) RemovePasskey(ctx context.Context, userID, id int64) (name, browser string, err error) {
	browser, err = a.lockOthersOut(ctx, session.MethodRemoved, func(ctx context.Context, tx pgx.Tx) (string, error) {
		name, err = a.Accounts.RemovePasskey(ctx, tx, userID, id)
		return PasskeyMethod, err
	})
	return name, browser, err
}

// RemoveIdentity removes a provider's account as a sign-in method, with its connection, and locks others out. It
// returns the provider's key and the token of this browser. Errors: auth.ErrNotFound, auth.ErrLastMethod.
func (a *Access) RemoveIdentity(ctx context.Context, userID, id int64) (provider, browser string, err error) {
	browser, err = a.lockOthersOut(ctx, session.MethodRemoved, func(ctx context.Context, tx pgx.Tx) (string, error) {
		provider, err = a.Accounts.RemoveIdentity(ctx, tx, userID, id, a.disconnects(ctx, tx, userID))
		return provider, err
	})
	return provider, browser, err
}

// disconnects returns what ends the connections of a user's identities that are about to be removed.
func (a *Access) disconnects(ctx context.Context, tx pgx.Tx, userID int64) auth.Disconnect {
	return func(provider string, id int64) error {
		p := a.Providers.Get(provider)
		if p == nil {
			return nil // we have no keys of this provider any more: the connection goes with the identity
		}
		_, err := a.Connections.Disconnect(ctx, tx, p, userID, id)
		if errors.Is(err, connection.ErrNotFound) {
			return nil
		}
		return err
	}
}

// ConfirmIdentity makes an unconfirmed identity a sign-in method, and returns its provider's key. The caller makes sure
// that the sign-in is recent. Errors: auth.ErrNotFound.
func (a *Access) ConfirmIdentity(ctx context.Context, userID, id int64) (provider string, err error) {
	err = a.Sessions.ChangeAccess(ctx, "", func(ctx context.Context, tx pgx.Tx) (string, error) {
		provider, err = a.Accounts.Confirm(ctx, tx, userID, id)
		return "", err
	})
	return provider, err
}

// EndOtherSessions locks others out. It returns the token of this browser.
func (a *Access) EndOtherSessions(ctx context.Context) (browser string, err error) {
	return a.lockOthersOut(ctx, session.EndedElsewhere, func(context.Context, pgx.Tx) (string, error) {
		return "", nil
	})
}

// lockOthersOut makes a change after which only this browser is signed in, and known, to the account. In the
// transaction of change, all other sessions end for the reason why, and this one gets a new token.
func (a *Access) lockOthersOut(
	ctx context.Context, why session.Reason, change func(context.Context, pgx.Tx) (removed string, err error),
) (browser string, err error) {
	current, _ := session.Current(ctx)
	browser = rand.Text()
	err = a.Sessions.ChangeAccess(ctx, why, func(ctx context.Context, tx pgx.Tx) (string, error) {
		removed, err := change(ctx, tx)
		if err != nil {
			return "", err
		}
		if err := a.Accounts.ForgetBrowsers(ctx, tx, current.UserID); err != nil {
			return "", err
		}
		if _, err := a.Accounts.RememberBrowser(ctx, tx, current.UserID, browser); err != nil {
			return "", err
		}
		return removed, a.endLinks(ctx, tx, current.UserID)
	})
	return browser, err
}

// endLinks ends links to an account: those in messages, and what other packages know.
func (a *Access) endLinks(ctx context.Context, tx pgx.Tx, userID int64) error {
	if err := a.Accounts.EndLinks(ctx, tx, userID); err != nil {
		return err
	}
	for _, lockOut := range a.LockOut {
		if err := lockOut(ctx, tx, userID); err != nil {
			return err
		}
	}
	return nil
}
