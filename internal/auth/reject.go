package auth

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/internal/mail"
)

// The message about a sign-in in a new browser has a link, "This wasn't me". It undoes what was done since that session
// began, as the undo of a change of address does (change.go). It needs no session, because the owner may be locked out
// by then. It is made in the transaction of the sign-in, so both have the same time, and it finds what is newer even if
// the session is gone or has another token. Like an undo, it stays when somebody locks others out.

// NotifyNewBrowser records a sign-in in a new browser, and mails it with a link for RejectSignIn, in the transaction of
// the sign-in. method is as in cairn.sign_in_methods.
func (a *Accounts) NotifyNewBrowser(ctx context.Context, tx pgx.Tx, userID int64, method string) error {
	said := origin(ctx)
	said["method"] = method
	if err := record(ctx, tx, userID, mail.NewBrowser, said); err != nil {
		return err
	}
	d, err := a.draft(ctx, tx, userID, mail.NewBrowser, said)
	if err != nil || d.To == "" {
		return err
	}
	l := Link{Purpose: ToReject, UserID: userID, Email: d.To, key: emailKey(d.To)}
	l.details.SignIn = d.Facts
	if d.LinkID, _, err = a.makeLink(ctx, tx, l); err != nil {
		return err
	}
	return a.mail.Put(ctx, tx, d)
}

// SignIn returns when the session of a link began, and the facts of the message about it.
func (l Link) SignIn() (began time.Time, facts mail.Facts) { return l.created, l.details.SignIn }

// RejectSignIn removes the password, and the sign-in methods, app and recovery codes that were added since the session
// of a link began. The method with which it began does not sign in any more. If the address was changed since,
// RejectSignIn restores it. disconnect ends a connection first. The caller ends sessions and other links, calls
// ForgetBrowsersSince, and sends a link for a new password (SendReset). Errors: ErrLink, ErrEmailTaken, ErrDisabled;
// disconnect's.
func (a *Accounts) RejectSignIn(ctx context.Context, tx pgx.Tx, l Link, disconnect Disconnect) error {
	if err := lockAndUse(ctx, tx, l); err != nil {
		return err
	}
	changed, err := changedSince(ctx, tx, l)
	if err != nil {
		return err
	}
	if err := dropMethod(ctx, tx, l); err != nil {
		return err
	}
	if err := removeSince(ctx, tx, l.UserID, l.created, disconnect); err != nil {
		return err
	}
	if err := restoreEmail(ctx, tx, l); err != nil {
		return err
	}
	if changed {
		if err := a.Notify(ctx, tx, l.UserID, mail.EmailRestored, mail.Facts{"email": l.Email}); err != nil {
			return err
		}
	}
	return a.Notify(ctx, tx, l.UserID, mail.SignInRejected, nil)
}

// changedSince reports whether the account has another address now than the link's, which it had when the session
// began: an intruder may have changed it. The link restores its address only while that change can be undone. After
// that the owner may have given the address up, and the link is no good. Errors: ErrLink.
func changedSince(ctx context.Context, tx pgx.Tx, l Link) (changed bool, err error) {
	var undoable bool
	err = tx.QueryRow(ctx, `
		SELECT NOT EXISTS (SELECT FROM cairn.emails WHERE user_id = $1 AND email_key = $2),
		       EXISTS (SELECT FROM cairn.links WHERE user_id = $1 AND email_key = $2 AND purpose = 'undo' AND id > $3
		               AND expires_at > now())`, l.UserID, l.key, l.ID).Scan(&changed, &undoable)
	switch {
	case err != nil:
		return false, fmt.Errorf("auth: compare the address of user %d: %w", l.UserID, err)
	case changed && !undoable:
		return false, ErrLink
	}
	return changed, nil
}

// dropMethod keeps the sign-in method with which the session of a link began from signing in again, unless it is the
// password, which is removed in any case. A provider's account keeps its connection; its owner can allow it again
// (Confirm). It isn't known which passkey it was, so those that were used since are removed. Recovery codes stay.
func dropMethod(ctx context.Context, tx pgx.Tx, l Link) error {
	for _, sql := range []string{
		`UPDATE cairn.identities SET signs_in = false WHERE user_id = $1 AND provider = $2 AND created_at < $3`,
		`DELETE FROM cairn.passkeys WHERE user_id = $1 AND $2 = 'passkey' AND last_used_at >= $3`,
	} {
		if _, err := tx.Exec(ctx, sql, l.UserID, l.details.SignIn["method"], l.created); err != nil {
			return fmt.Errorf("auth: drop a sign-in method of user %d: %w", l.UserID, err)
		}
	}
	return nil
}

// ForgetBrowsersSince deletes the browsers that have signed in since the session of a link began.
func (a *Accounts) ForgetBrowsersSince(ctx context.Context, tx pgx.Tx, l Link) error {
	_, err := tx.Exec(ctx, `DELETE FROM cairn.browsers WHERE user_id = $1 AND last_used >= $2`, l.UserID, l.created)
	if err != nil {
		return fmt.Errorf("auth: forget new browsers of user %d: %w", l.UserID, err)
	}
	return nil
}
