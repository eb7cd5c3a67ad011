package access

import (
	"context"

	"github.com/jackc/pgx/v5"

	"cairn/internal/auth"
	"cairn/internal/session"
)

// AddApp adds an authenticator app to the account that is signed in, and returns the recovery codes if they come with
// it. The person of this session has proven both factors now, and the browser with this token stays a known one; "":
// it has none. Links to the account end, because they would take no code. The caller makes sure that the sign-in is
// recent. Errors: auth.ErrNotFound, auth.ErrFactor, session.ErrEnded.
func (a *Access) AddApp(ctx context.Context, userID int64, browser string, n auth.NewApp) (codes []string, err error) {
	current, _ := session.Current(ctx)
	n.TwoFactors = current.TwoFactors
	err = a.Sessions.ChangeAccess(ctx, "", func(ctx context.Context, tx pgx.Tx) (string, error) {
		if codes, err = a.Accounts.AddApp(ctx, tx, userID, n); err != nil {
			return "", err
		}
		if browser != "" {
			if _, err := a.Accounts.RememberBrowser(ctx, tx, userID, browser); err != nil {
				return "", err
			}
		}
		if err := a.endLinks(ctx, tx, userID); err != nil {
			return "", err
		}
		return "", a.Sessions.NoteSecondFactor(ctx, tx)
	})
	return codes, err
}

// RemoveApp removes the authenticator app, and locks others out. It returns the token of this browser. Errors:
// auth.ErrNotFound.
func (a *Access) RemoveApp(ctx context.Context, userID int64) (browser string, err error) {
	return a.lockOthersOut(ctx, session.MethodRemoved, func(ctx context.Context, tx pgx.Tx) (string, error) {
		return "", a.Accounts.RemoveApp(ctx, tx, userID)
	})
}

// ResetFactors removes the passkeys, the app and the recovery codes of an account, and locks everybody out, for an
// operator. Errors: those of auth.ResetFactors.
func (a *Access) ResetFactors(ctx context.Context, userID int64) (done auth.FactorsReset, err error) {
	err = pgx.BeginFunc(ctx, a.Sessions.Pool, func(tx pgx.Tx) error {
		if done, err = a.Accounts.ResetFactors(ctx, tx, userID); err != nil {
			return err
		}
		return a.lockEverybodyOut(ctx, tx, userID, session.ByOperator)
	})
	return done, err
}

// ReplaceCodes gives the account that is signed in new recovery codes. With the first ones, for passkeys that are
// older, the account has a second factor, which this session has proven. Errors: auth.ErrNotFound, auth.ErrFactor,
// session.ErrEnded.
func (a *Access) ReplaceCodes(ctx context.Context, userID int64, c auth.RecoveryCodes) error {
	current, _ := session.Current(ctx)
	c.TwoFactors = current.TwoFactors
	return a.Sessions.ChangeAccess(ctx, "", func(ctx context.Context, tx pgx.Tx) (string, error) {
		if err := a.Accounts.ReplaceCodes(ctx, tx, userID, c); err != nil {
			return "", err
		}
		return "", a.Sessions.NoteSecondFactor(ctx, tx)
	})
}

// SkipCode sets whether an account at a provider signs in without a code, and returns the provider's key. Errors:
// auth.ErrNotFound, session.ErrEnded.
func (a *Access) SkipCode(ctx context.Context, userID, id int64, skip bool) (provider string, err error) {
	err = a.Sessions.ChangeAccess(ctx, "", func(ctx context.Context, tx pgx.Tx) (string, error) {
		provider, err = a.Accounts.SkipCode(ctx, tx, userID, id, skip)
		return "", err
	})
	return provider, err
}
