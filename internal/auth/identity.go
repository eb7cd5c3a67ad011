package auth

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Claim makes a provider's account a way into the account of a signed-in user and returns the identity's id. One that
// is the user's already is returned as it is. Errors: ErrLinked when it is another user's; ErrUnconfirmed when it
// would be a new way in, and confirmed does not say that the user has just signed in.
func (a *Accounts) Claim(
	ctx context.Context, tx pgx.Tx, userID int64, provider, subject string, confirmed bool,
) (int64, error) {
	if err := lockIdentity(ctx, tx, provider, subject); err != nil {
		return 0, err
	}
	if err := lockMethods(ctx, tx, userID); err != nil {
		return 0, err
	}
	id, owner, err := findIdentity(ctx, tx, provider, subject)
	switch {
	case errors.Is(err, ErrNotFound) && !confirmed:
		return 0, ErrUnconfirmed
	case errors.Is(err, ErrNotFound):
		return insertIdentity(ctx, tx, userID, provider, subject)
	case err != nil:
		return 0, err
	case owner != userID:
		return 0, ErrLinked
	}
	return id, nil
}

// Enter returns the user and identity a provider's account leads to, making both at the first visit. name and avatarURL
// are used only then.
func (a *Accounts) Enter(
	ctx context.Context, tx pgx.Tx, provider, subject, name, avatarURL string,
) (userID, identityID int64, err error) {
	if err := lockIdentity(ctx, tx, provider, subject); err != nil {
		return 0, 0, err
	}
	identityID, userID, err = findIdentity(ctx, tx, provider, subject)
	if err == nil {
		err = a.StillProven(ctx, tx, Proof{UserID: userID, identityID: identityID})
	}
	if !errors.Is(err, ErrNotFound) {
		return userID, identityID, err
	}
	err = tx.QueryRow(ctx, `
		INSERT INTO cairn.users (display_name, avatar_url) VALUES ($1, NULLIF($2, '')) RETURNING id`,
		nameFrom(name), avatarURL).Scan(&userID)
	if err != nil {
		return 0, 0, fmt.Errorf("auth: insert user: %w", err)
	}
	identityID, err = insertIdentity(ctx, tx, userID, provider, subject)
	return userID, identityID, err
}

// RemoveIdentity removes the sign-in method by a provider's account, and with it the connection that hangs on it.
// Before anything is removed, disconnect is called with the transaction. Errors: ErrNotFound, ErrLastWay;
// disconnect's.
func (a *Accounts) RemoveIdentity(
	ctx context.Context, tx pgx.Tx, userID, identityID int64, disconnect func(provider string) error,
) (provider string, err error) {
	if err := lockMethods(ctx, tx, userID); err != nil {
		return "", err
	}
	err = tx.QueryRow(ctx, `
		SELECT provider FROM cairn.identities
		WHERE id = $1 AND user_id = $2 FOR UPDATE`, identityID, userID).Scan(&provider)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", ErrNotFound
	}
	if err != nil {
		return "", fmt.Errorf("auth: find identity %d: %w", identityID, err)
	}
	if err := disconnect(provider); err != nil {
		return "", err
	}
	_, err = tx.Exec(ctx, `DELETE FROM cairn.identities WHERE id = $1 AND user_id = $2`, identityID, userID)
	if err != nil {
		return "", fmt.Errorf("auth: remove identity %d: %w", identityID, err)
	}
	return provider, someMethodLeft(ctx, tx, userID)
}

// lockIdentity lets one transaction at a time decide whose a provider's account is, also while no row of it exists.
// It comes before the user's lock, because only then is it known who that is.
func lockIdentity(ctx context.Context, tx pgx.Tx, provider, subject string) error {
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended($1, 7261))`, provider+" "+subject)
	if err != nil {
		return fmt.Errorf("auth: lock identity of %s: %w", provider, err)
	}
	return nil
}

func findIdentity(ctx context.Context, tx pgx.Tx, provider, subject string) (id, userID int64, err error) {
	err = tx.QueryRow(ctx, `SELECT id, user_id FROM cairn.identities WHERE provider = $1 AND subject = $2`,
		provider, subject).Scan(&id, &userID)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, 0, ErrNotFound
	}
	if err != nil {
		return 0, 0, fmt.Errorf("auth: find identity of %s: %w", provider, err)
	}
	return id, userID, nil
}

func insertIdentity(ctx context.Context, tx pgx.Tx, userID int64, provider, subject string) (id int64, err error) {
	err = tx.QueryRow(ctx, `INSERT INTO cairn.identities (user_id, provider, subject) VALUES ($1, $2, $3) RETURNING id`,
		userID, provider, subject).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("auth: insert identity of %s: %w", provider, err)
	}
	return id, nil
}
