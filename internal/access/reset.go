package access

import (
	"context"

	"github.com/jackc/pgx/v5"

	"cairn/internal/auth"
	"cairn/internal/session"
)

// ResetPassword sets a new password, given a link, and locks everybody out of the account. freed is as in
// auth.ResetPassword. Errors: auth.ErrLink, auth.ErrDisabled.
func (a *Access) ResetPassword(ctx context.Context, r auth.Reset) (freed bool, err error) {
	err = pgx.BeginFunc(ctx, a.Sessions.Pool, func(tx pgx.Tx) error {
		if freed, err = a.Accounts.ResetPassword(ctx, tx, r, a.disconnects(ctx, tx, r.UserID)); err != nil {
			return err
		}
		why := session.PasswordChanged
		if freed {
			why = session.MethodRemoved
		}
		return a.lockEverybodyOut(ctx, tx, r.UserID, why)
	})
	return freed, err
}

// lockEverybodyOut ends all sessions of an account and everything else that lets anybody in, but its sign-in methods.
func (a *Access) lockEverybodyOut(ctx context.Context, tx pgx.Tx, userID int64, why session.Reason) error {
	if err := a.Accounts.ForgetBrowsers(ctx, tx, userID); err != nil {
		return err
	}
	if err := a.endLinks(ctx, tx, userID); err != nil {
		return err
	}
	_, err := a.Sessions.EndOthers(ctx, tx, userID, 0, why)
	return err
}

// SignUpByLink makes the account of a sign-up, given its link, and signs in. Errors: auth.ErrLink, auth.ErrEmailTaken.
func (a *Access) SignUpByLink(ctx context.Context, l auth.Link, in SignIn) (SignedIn, error) {
	return a.signIn(ctx, PasswordMethod, in, func(ctx context.Context, tx pgx.Tx, _ *SignedIn) (auth.Proof, error) {
		userID, err := a.Accounts.CreateByLink(ctx, tx, l)
		return auth.Proof{UserID: userID}, err
	})
}

// VerifyEmail proves the address of the account that is signed in. Errors: auth.ErrLink, session.ErrEnded.
func (a *Access) VerifyEmail(ctx context.Context, l auth.Link) error {
	return pgx.BeginFunc(ctx, a.Sessions.Pool, func(tx pgx.Tx) error {
		if err := a.Accounts.VerifyEmail(ctx, tx, l); err != nil {
			return err
		}
		return a.Sessions.StillLive(ctx, tx)
	})
}

// ChangeEmail gives the account that is signed in the address of a link. Errors: auth.ErrLink, auth.ErrEmailTaken.
func (a *Access) ChangeEmail(ctx context.Context, l auth.Link) error {
	return a.Sessions.ChangeAccess(ctx, "", func(ctx context.Context, tx pgx.Tx) (string, error) {
		return "", a.Accounts.ChangeEmail(ctx, tx, l)
	})
}

// UndoChange restores the address of a link, locks everybody out of the account, and has a link for a new password sent
// to the address. Errors: auth.ErrLink, auth.ErrEmailTaken, auth.ErrDisabled.
func (a *Access) UndoChange(ctx context.Context, l auth.Link) error {
	return pgx.BeginFunc(ctx, a.Sessions.Pool, func(tx pgx.Tx) error {
		if err := a.Accounts.UndoChange(ctx, tx, l, a.disconnects(ctx, tx, l.UserID)); err != nil {
			return err
		}
		if err := a.lockEverybodyOut(ctx, tx, l.UserID, session.EndedElsewhere); err != nil {
			return err
		}
		return a.Accounts.SendReset(ctx, tx, l)
	})
}

// EndUndo ends an undo (auth.EndUndo) for the account that is signed in, which is recent. Errors: auth.ErrNotFound,
// auth.ErrFactor, session.ErrEnded.
func (a *Access) EndUndo(ctx context.Context, id int64) error {
	current, _ := session.Current(ctx)
	return pgx.BeginFunc(ctx, a.Sessions.Pool, func(tx pgx.Tx) error {
		if err := a.Accounts.EndUndo(ctx, tx, current.UserID, id, FactorsOf(current)); err != nil {
			return err
		}
		return a.Sessions.StillLive(ctx, tx)
	})
}

// FactorsOf returns what a session has proven.
func FactorsOf(s session.Session) auth.Factors {
	return auth.Factors{Began: s.Created, Code: s.TwoFactors && s.Method != PasskeyMethod}
}

// RejectSignIn locks out the person who began the session of a link: it ends that session and all that began since,
// removes what was added since, and has a link for a new password sent to the address of the link. Sessions that began
// before stay. Errors: auth.ErrLink, auth.ErrEmailTaken.
func (a *Access) RejectSignIn(ctx context.Context, l auth.Link) error {
	return pgx.BeginFunc(ctx, a.Sessions.Pool, func(tx pgx.Tx) error {
		if err := a.Accounts.RejectSignIn(ctx, tx, l, a.disconnects(ctx, tx, l.UserID)); err != nil {
			return err
		}
		if err := a.Accounts.ForgetBrowsersSince(ctx, tx, l); err != nil {
			return err
		}
		if err := a.endLinks(ctx, tx, l.UserID); err != nil {
			return err
		}
		began, _ := l.SignIn()
		if err := a.Sessions.EndSince(ctx, tx, l.UserID, began, session.EndedElsewhere); err != nil {
			return err
		}
		return a.Accounts.SendReset(ctx, tx, l)
	})
}
