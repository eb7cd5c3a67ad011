package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/internal/mail"
)

// An address is changed once the new one is proven. The owner of the old one, if it was proven, can undo that for a
// week: somebody who got into an account must not be able to take it away from its owner. They may know the password,
// or have added a sign-in method. So undoing removes the password and what was added since the day before the change.

// undoneBefore is how far back undoing a change removes sign-in methods: an intruder may have added them before it.
const undoneBefore = 24 * time.Hour

// RequestChange asks for a link that proves a new address for an account. The caller makes sure that the sign-in is
// recent. Errors: *FieldError, *LimitError, ErrNotFound.
func (a *Accounts) RequestChange(ctx context.Context, userID int64, email, address string) error {
	email, key, err := parseEmail(email)
	if err != nil {
		return err
	}
	account, err := a.Get(ctx, userID)
	if err != nil {
		return err
	}
	if emailKey(account.Email) == key {
		return &FieldError{Field: "email", Message: "This is your e-mail already."}
	}
	if err := a.Allow(ctx, a.Limits.MailPerson.Of(userID), a.Limits.MailNetwork.From(address)); err != nil {
		return err
	}
	return a.requestLink(ctx, Link{Purpose: ToChange, UserID: userID, Email: email, key: key}, "")
}

// ChangeEmail gives an account the address of a link. Errors: ErrLink, ErrEmailTaken.
func (a *Accounts) ChangeEmail(ctx context.Context, tx pgx.Tx, l Link) error {
	if err := lockEmails(ctx, tx, l); err != nil {
		return err
	}
	if err := lockMethods(ctx, tx, l.UserID); err != nil {
		return err
	}
	if err := takeLink(ctx, tx, l); err != nil {
		return err
	}
	var old string
	var verified bool
	err := tx.QueryRow(ctx, `SELECT email, verified_at IS NOT NULL FROM cairn.emails WHERE user_id = $1`, l.UserID).
		Scan(&old, &verified)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("auth: find the address of user %d: %w", l.UserID, err)
	}
	if err := replaceEmail(ctx, tx, l.UserID, l.Email, l.key); err != nil {
		return err
	}
	if err := a.EndLinks(ctx, tx, l.UserID); err != nil {
		return err
	}
	if err := a.distrust(ctx, tx, l.UserID); err != nil {
		return err
	}
	if verified {
		undo := Link{Purpose: ToUndo, UserID: l.UserID, Email: old, key: emailKey(old)}
		if err := a.sendLink(ctx, tx, undo); err != nil {
			return err
		}
	}
	return a.Notify(ctx, tx, l.UserID, mail.EmailChanged, mail.Facts{"email": l.Email})
}

// replaceEmail replaces an account's address by a proven one. Errors: ErrEmailTaken.
func replaceEmail(ctx context.Context, tx pgx.Tx, userID int64, email, key string) error {
	if _, err := tx.Exec(ctx, `DELETE FROM cairn.emails WHERE user_id = $1`, userID); err != nil {
		return fmt.Errorf("auth: remove the address of user %d: %w", userID, err)
	}
	tag, err := tx.Exec(ctx, `
		INSERT INTO cairn.emails (user_id, email, email_key, verified_at) VALUES ($1, $2, $3, now())
		ON CONFLICT DO NOTHING`, userID, email, key)
	if err != nil {
		return fmt.Errorf("auth: change the address of user %d: %w", userID, err)
	}
	if tag.RowsAffected() == 0 {
		return ErrEmailTaken
	}
	_, err = tx.Exec(ctx, `
		UPDATE cairn.passwords SET email = $2, email_key = $3 WHERE user_id = $1`, userID, email, key)
	if err != nil {
		return fmt.Errorf("auth: change the address of the password of user %d: %w", userID, err)
	}
	return nil
}

// UndoChange restores the address of a link; another account keeps that address only if it has proven it. UndoChange
// removes the password, and the sign-in methods added since the day before the change. disconnect ends a connection
// first. The caller locks everybody out, and sends a link for a new password (SendReset). Errors: ErrLink,
// ErrEmailTaken, ErrDisabled; disconnect's.
func (a *Accounts) UndoChange(ctx context.Context, tx pgx.Tx, l Link, disconnect Disconnect) error {
	if err := lockAndUse(ctx, tx, l); err != nil {
		return err
	}
	if err := removeSince(ctx, tx, l.UserID, l.created.Add(-undoneBefore), disconnect); err != nil {
		return err
	}
	if err := restoreEmail(ctx, tx, l); err != nil {
		return err
	}
	return a.Notify(ctx, tx, l.UserID, mail.EmailRestored, mail.Facts{"email": l.Email})
}

// lockAndUse locks the account of an undo or reject link, and deletes the link. Errors: ErrLink, ErrDisabled.
func lockAndUse(ctx context.Context, tx pgx.Tx, l Link) error {
	if err := lockEmails(ctx, tx, l); err != nil {
		return err
	}
	if err := lockMethods(ctx, tx, l.UserID); errors.Is(err, ErrNotFound) {
		return ErrLink
	} else if err != nil {
		return err
	}
	return takeLink(ctx, tx, l)
}

// restoreEmail gives an account the address of a link again. Newer undo and reject links would give the account to an
// intruder, so they end. Older ones stay good. Errors: ErrEmailTaken.
func restoreEmail(ctx context.Context, tx pgx.Tx, l Link) error {
	if err := evictClaim(ctx, tx, l); err != nil {
		return err
	}
	if err := replaceEmail(ctx, tx, l.UserID, l.Email, l.key); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `
		DELETE FROM cairn.links WHERE user_id = $1 AND (purpose NOT IN ('undo', 'reject') OR id > $2)`, l.UserID, l.ID)
	if err != nil {
		return fmt.Errorf("auth: end the links of user %d: %w", l.UserID, err)
	}
	return nil
}

// SendReset sends a link for a new password to the address of a link, in the transaction that uses the link. It does
// not count as a request: strangers could have used up all of those (Limits.ResetStrangers).
func (a *Accounts) SendReset(ctx context.Context, tx pgx.Tx, l Link) error {
	return a.sendLink(ctx, tx, Link{Purpose: ToReset, UserID: l.UserID, Email: l.Email, key: l.key})
}

// removeSince removes what an intruder may have added since a time, and the password, which they may know.
func removeSince(ctx context.Context, tx pgx.Tx, userID int64, since time.Time, disconnect Disconnect) error {
	err := removeIdentities(ctx, tx, disconnect, `user_id = $1 AND created_at >= $2`, userID, since)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `DELETE FROM cairn.passkeys WHERE user_id = $1 AND created_at >= $2`, userID, since)
	if err != nil {
		return fmt.Errorf("auth: remove new passkeys of user %d: %w", userID, err)
	}
	if _, err := tx.Exec(ctx, `DELETE FROM cairn.passwords WHERE user_id = $1`, userID); err != nil {
		return fmt.Errorf("auth: remove the password of user %d: %w", userID, err)
	}
	return removeFactorSince(ctx, tx, userID, since)
}

// removeFactorSince removes an authenticator app and recovery codes that an intruder may have added since a time,
// because they would keep the owner out. Providers ask for codes again. Recovery codes from before stay, even without
// an app and a passkey: a new password still takes one then, so that somebody who can read the owner's mail does not
// get round the second factor.
func removeFactorSince(ctx context.Context, tx pgx.Tx, userID int64, since time.Time) error {
	for _, sql := range []string{
		`UPDATE cairn.second_factors SET app = NULL, app_since = NULL WHERE user_id = $1 AND app_since >= $2`,
		`DELETE FROM cairn.recovery_codes WHERE user_id = $1 AND made_at >= $2`,
	} {
		if _, err := tx.Exec(ctx, sql, userID, since); err != nil {
			return fmt.Errorf("auth: remove new codes of user %d: %w", userID, err)
		}
	}
	for _, sql := range []string{
		`UPDATE cairn.identities SET skips_code = false WHERE user_id = $1`,
		`DELETE FROM cairn.second_factors f WHERE user_id = $1 AND app IS NULL
		 AND NOT EXISTS (SELECT FROM cairn.passkeys p WHERE p.user_id = f.user_id)
		 AND NOT EXISTS (SELECT FROM cairn.recovery_codes c WHERE c.user_id = f.user_id)`,
	} {
		if _, err := tx.Exec(ctx, sql, userID); err != nil {
			return fmt.Errorf("auth: ask user %d for codes again: %w", userID, err)
		}
	}
	return nil
}

// lockEmails locks the addresses that a link exchanges. It comes before the lock of the user, so that two accounts can
// change to each other's address at once without a deadlock.
func lockEmails(ctx context.Context, tx pgx.Tx, l Link) error {
	rows, _ := tx.Query(ctx, `SELECT email_key FROM cairn.emails WHERE user_id = $1`, l.UserID)
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string]) // it returns the error of Query, too
	if err != nil {
		return fmt.Errorf("auth: find the address of user %d: %w", l.UserID, err)
	}
	return lockAddresses(ctx, tx, append(keys, l.key)...)
}

// evictClaim takes the address of a link out of another account that has it without proof.
func evictClaim(ctx context.Context, tx pgx.Tx, l Link) error {
	for _, sql := range []string{
		`DELETE FROM cairn.passwords p USING cairn.emails e
		 WHERE e.user_id = p.user_id AND e.email_key = $1 AND e.user_id <> $2 AND e.verified_at IS NULL`,
		`DELETE FROM cairn.emails WHERE email_key = $1 AND user_id <> $2 AND verified_at IS NULL`,
	} {
		if _, err := tx.Exec(ctx, sql, l.key, l.UserID); err != nil {
			return fmt.Errorf("auth: take an unproven address out of another account: %w", err)
		}
	}
	return nil
}
