package auth

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"cairn/internal/mail"
)

// An unconfirmed identity came with an import that could not prove whose account at the provider it is. It has a
// connection and does not sign in, until its owner, who has just signed in, confirms it or connects the account again.

// unknownSubject begins the subjects of accounts whose id at the provider is not known. No provider's id begins so.
const unknownSubject = "?"

// UnknownSubject is the subject of a user's account at a provider while its id there is not known. id tells such
// accounts apart. The account that is connected next takes its place (Link).
func UnknownSubject(id int64) string { return unknownSubject + strconv.FormatInt(id, 10) }

// KnownSubject reports whether a subject is the id of an account at its provider.
func KnownSubject(subject string) bool { return !strings.HasPrefix(subject, unknownSubject) }

// Confirm makes an unconfirmed identity a sign-in method, and returns its provider. The caller makes sure that the user
// has just signed in. Errors: ErrNotFound.
func (a *Accounts) Confirm(ctx context.Context, tx pgx.Tx, userID, identityID int64) (provider string, err error) {
	if err := lockMethods(ctx, tx, userID); err != nil {
		return "", err
	}
	err = tx.QueryRow(ctx, `
		SELECT provider FROM cairn.identities
		WHERE id = $1 AND user_id = $2 AND NOT starts_with(subject, $3) FOR UPDATE`,
		identityID, userID, unknownSubject).Scan(&provider)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", ErrNotFound
	}
	if err != nil {
		return "", fmt.Errorf("auth: find identity %d: %w", identityID, err)
	}
	if err := confirmIdentity(ctx, tx, userID, identityID); err != nil {
		return "", err
	}
	return provider, a.Notify(ctx, tx, userID, mail.MethodAdded, mail.Facts{"provider": provider})
}

// confirmIdentity makes an identity a sign-in method, and dates it from now: an intruder may have done that, so it has
// to count as added now (removeSince).
func confirmIdentity(ctx context.Context, tx pgx.Tx, userID, identityID int64) error {
	_, err := tx.Exec(ctx, `
		UPDATE cairn.identities SET signs_in = true, created_at = now() WHERE id = $1 AND user_id = $2`,
		identityID, userID)
	if err != nil {
		return fmt.Errorf("auth: confirm identity %d: %w", identityID, err)
	}
	return nil
}

// RemoveUnconfirmed removes a user's unconfirmed identity at a provider, if there is one: without its connection it is
// good for nothing, and would keep the account's owner from signing up. It calls disconnect in the transaction before
// it removes anything. Errors: ErrNotFound, disconnect's.
func (a *Accounts) RemoveUnconfirmed(
	ctx context.Context, tx pgx.Tx, userID int64, provider string, disconnect func() error,
) error {
	if err := lockMethods(ctx, tx, userID); err != nil && !errors.Is(err, ErrDisabled) {
		return err
	}
	const unconfirmed = `user_id = $1 AND provider = $2 AND NOT signs_in`
	_, err := tx.Exec(ctx, `SELECT FROM cairn.identities WHERE `+unconfirmed+` FOR UPDATE`, userID, provider)
	if err != nil {
		return fmt.Errorf("auth: lock identities of %s: %w", provider, err)
	}
	if err := disconnect(); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM cairn.identities WHERE `+unconfirmed, userID, provider); err != nil {
		return fmt.Errorf("auth: remove an unconfirmed identity of %s: %w", provider, err)
	}
	return nil
}

// CountUnconfirmed counts the unconfirmed identities of a provider whose owners can confirm them.
func CountUnconfirmed(ctx context.Context, tx pgx.Tx, provider string) (n int, err error) {
	err = tx.QueryRow(ctx, `
		SELECT count(*) FROM cairn.identities
		WHERE provider = $1 AND NOT signs_in AND NOT starts_with(subject, $2)`, provider, unknownSubject).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("auth: count unconfirmed identities of %s: %w", provider, err)
	}
	return n, nil
}

// dropUnknown removes the user's account at a provider whose id is not known, with its connection, and reports whether
// there was one.
func dropUnknown(ctx context.Context, tx pgx.Tx, userID int64, provider string) (dropped bool, err error) {
	tag, err := tx.Exec(ctx, `
		DELETE FROM cairn.identities WHERE user_id = $1 AND provider = $2 AND starts_with(subject, $3)`,
		userID, provider, unknownSubject)
	if err != nil {
		return false, fmt.Errorf("auth: remove the unknown account of %s: %w", provider, err)
	}
	return tag.RowsAffected() > 0, nil
}
