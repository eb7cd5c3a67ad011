package auth

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"cairn/internal/mail"
)

// RequestReset asks for a link with which the owner of an address can choose a new password. It does the same, and
// takes the same time, whether there is an account or not. browser is as in SignIn. Errors: *FieldError, *LimitError.
func (a *Accounts) RequestReset(ctx context.Context, email, address, browser string) error {
	email, key, err := parseEmail(email)
	if err != nil {
		return err
	}
	if err := a.Allow(ctx, a.Limits.MailNetwork.From(address)); err != nil {
		return err
	}
	return a.requestLink(ctx, Link{Purpose: ToReset, Email: email, key: key}, browser)
}

// Reset is a link with a new password that was checked.
type Reset struct {
	Link
	hash string
	code CodeProof // zero: none was asked for
}

// NewReset is a new password as it was sent: with a code, if ResetNeedsCode, and from which address and browser.
type NewReset struct{ Password, Code, Address, Browser string }

// ResetNeedsCode reports whether a new password for an account takes a code, too: a link alone must not add a password
// to an account that has two factors and no password. Nor must it hand over an account with an app, which would go. An
// operator's link hands nothing over.
func ResetNeedsCode(a Account, l Link) bool {
	if a.Verified {
		return a.Second.On && !a.Password
	}
	return l.details.By != byOperator && a.Second.HasApp() && a.Methods() == 1 && a.Password && len(a.Passkeys) == 0
}

// CheckReset checks the new password and the code of a reset. Errors: ErrCode, *FieldError, *LimitError, ErrBusy.
func (a *Accounts) CheckReset(ctx context.Context, l Link, n NewReset) (Reset, error) {
	if err := checkLength(n.Password); err != nil {
		return Reset{}, err
	}
	counts := []Count{a.Limits.ConfirmLink.Of(l.ID), a.Limits.ConfirmNetwork.From(n.Address)}
	if err := a.Allow(ctx, counts...); err != nil {
		return Reset{}, err
	}
	hash, err := a.hash.make(ctx, n.Password, l.Name, l.Email)
	if err != nil {
		return Reset{}, err
	}
	account, err := a.Get(ctx, l.UserID)
	if err != nil || !ResetNeedsCode(account, l) {
		return Reset{Link: l, hash: hash}, err
	}
	code, err := a.CheckCode(ctx, l.UserID, n.Code, n.Address, n.Browser)
	return Reset{l, hash, code}, err
}

// ResetPassword sets the password of a reset, which proves its address. If the address was not verified and others have
// put something into the account, it is not handed over: the address is taken out of it, and is free. An operator's
// link proves no address, and leaves the account as it is: the operator knows who asked. disconnect ends a connection
// first. The caller locks everybody out. Errors: ErrLink, ErrCode, ErrDisabled; disconnect's.
func (a *Accounts) ResetPassword(ctx context.Context, tx pgx.Tx, r Reset, disconnect Disconnect) (bool, error) {
	if err := lockMethods(ctx, tx, r.UserID); errors.Is(err, ErrNotFound) {
		return false, ErrLink
	} else if err != nil {
		return false, err
	}
	if err := takeLink(ctx, tx, r.Link); err != nil {
		return false, err
	}
	proven, err := a.useResetCode(ctx, tx, r)
	if err != nil {
		return false, err
	}
	if r.details.By == byOperator {
		return false, a.replacePassword(ctx, tx, r)
	}
	var verified, others bool
	err = tx.QueryRow(ctx, `
		SELECT verified_at IS NOT NULL,
		       EXISTS (SELECT FROM cairn.identities i WHERE i.user_id = e.user_id AND signs_in)
		       OR EXISTS (SELECT FROM cairn.passkeys k WHERE k.user_id = e.user_id)
		FROM cairn.emails e WHERE user_id = $1 AND email_key = $2`, r.UserID, r.key).Scan(&verified, &others)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return false, ErrLink
	case err != nil:
		return false, fmt.Errorf("auth: find the address of user %d: %w", r.UserID, err)
	case !verified && others:
		return true, a.freeEmail(ctx, tx, r.Link)
	case !verified && !proven:
		err = handOver(ctx, tx, r.UserID, disconnect)
	}
	if err != nil {
		return false, err
	}
	return false, a.replacePassword(ctx, tx, r)
}

// useResetCode uses the code of a reset where one is needed (ResetNeedsCode), and reports whether that is so. Errors:
// ErrCode.
func (a *Accounts) useResetCode(ctx context.Context, tx pgx.Tx, r Reset) (needed bool, err error) {
	err = tx.QueryRow(ctx, `
		SELECT CASE WHEN e.verified_at IS NOT NULL THEN p.user_id IS NULL
		       ELSE $2 AND f.app IS NOT NULL AND p.user_id IS NOT NULL
		            AND NOT EXISTS (SELECT FROM cairn.identities i WHERE i.user_id = e.user_id AND signs_in)
		            AND NOT EXISTS (SELECT FROM cairn.passkeys k WHERE k.user_id = e.user_id) END
		FROM cairn.emails e JOIN cairn.second_factors f USING (user_id) LEFT JOIN cairn.passwords p USING (user_id)
		WHERE user_id = $1`, r.UserID, r.details.By != byOperator).Scan(&needed)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("auth: look for the second factor of user %d: %w", r.UserID, err)
	case !needed:
		return false, nil
	case r.code.UserID != r.UserID:
		return false, ErrCode
	}
	return true, a.UseCode(ctx, tx, r.code)
}

// handOver removes what somebody else may have added to an account before its address was proven.
func handOver(ctx context.Context, tx pgx.Tx, userID int64, disconnect Disconnect) error {
	if err := removeIdentities(ctx, tx, disconnect, `user_id = $1 AND NOT signs_in`, userID); err != nil {
		return err
	}
	for _, sql := range []string{
		`DELETE FROM cairn.links WHERE user_id = $1`,
		`DELETE FROM cairn.second_factors WHERE user_id = $1`,
	} {
		if _, err := tx.Exec(ctx, sql, userID); err != nil {
			return fmt.Errorf("auth: hand over user %d: %w", userID, err)
		}
	}
	return nil
}

// freeEmail removes an address, which its owner did not give to this account, with its password.
func (a *Accounts) freeEmail(ctx context.Context, tx pgx.Tx, l Link) error {
	for _, sql := range []string{
		`DELETE FROM cairn.passwords WHERE user_id = $1`,
		`DELETE FROM cairn.emails WHERE user_id = $1`,
	} {
		if _, err := tx.Exec(ctx, sql, l.UserID); err != nil {
			return fmt.Errorf("auth: free the address of user %d: %w", l.UserID, err)
		}
	}
	return a.Notify(ctx, tx, l.UserID, mail.EmailFreed, mail.Facts{"email": l.Email})
}

func (a *Accounts) replacePassword(ctx context.Context, tx pgx.Tx, r Reset) error {
	facts := mail.Facts{}
	if r.details.By == byOperator {
		facts["by"] = byOperator
	} else if err := verifyByLink(ctx, tx, r.UserID); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO cairn.passwords (user_id, email, email_key, hash)
		SELECT user_id, email, email_key, $2 FROM cairn.emails WHERE user_id = $1
		ON CONFLICT (user_id) DO UPDATE SET hash = EXCLUDED.hash, changed_at = now()`, r.UserID, r.hash)
	if err != nil {
		return fmt.Errorf("auth: reset the password of user %d: %w", r.UserID, err)
	}
	return a.Notify(ctx, tx, r.UserID, mail.PasswordReset, facts)
}

// verifyByLink notes that the owner of an account reads the mail to its address.
func verifyByLink(ctx context.Context, tx pgx.Tx, userID int64) error {
	_, err := tx.Exec(ctx, `
		UPDATE cairn.emails SET verified_at = COALESCE(verified_at, now()), refused_at = NULL
		WHERE user_id = $1`, userID)
	if err != nil {
		return fmt.Errorf("auth: verify the address of user %d: %w", userID, err)
	}
	return nil
}
