package auth

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"cairn/internal/mail"
)

// Linking says how well a user is proven who links a provider's account.
type Linking int

const (
	// NotRecent links only accounts that are the user's already, or that take the place of an unknown one
	// (unconfirmed.go).
	NotRecent Linking = iota
	// Recent makes a sign-in method of the account: the user has just signed in.
	Recent
	// Unconfirmed links new accounts, too, without making sign-in methods of them.
	Unconfirmed
)

// Link makes a provider's account a user's and returns the identity's id. If it is theirs already, nothing changes, but
// that an unconfirmed one is confirmed by a Recent sign-in. Errors: ErrLinked if the account is another user's,
// ErrUnconfirmed if only an import says so; ErrNotRecent.
func (a *Accounts) Link(
	ctx context.Context, tx pgx.Tx, userID int64, provider, subject string, how Linking,
) (int64, error) {
	if err := LockIdentities(ctx, tx, provider, subject); err != nil {
		return 0, err
	}
	if err := lockMethods(ctx, tx, userID); err != nil {
		return 0, err
	}
	known, err := findIdentity(ctx, tx, provider, subject)
	isNew := errors.Is(err, ErrNotFound)
	switch {
	case isNew:
	case err != nil:
		return 0, err
	case known.userID != userID && !known.signsIn:
		return 0, ErrUnconfirmed
	case known.userID != userID:
		return 0, ErrLinked
	}
	replaced, err := dropUnknown(ctx, tx, userID, provider)
	switch {
	case err != nil:
		return 0, err
	case isNew && how == NotRecent && !replaced:
		return 0, ErrNotRecent
	case isNew:
		known.id, err = insertIdentity(ctx, tx, userID, provider, subject, how == Recent)
	case how == Recent && !known.signsIn:
		err = confirmIdentity(ctx, tx, userID, known.id)
	default:
		return known.id, nil
	}
	if err != nil || how != Recent {
		return known.id, err
	}
	return known.id, a.Notify(ctx, tx, userID, mail.MethodAdded, mail.Facts{"provider": provider})
}

// Visitor is somebody who has proven an account at a provider.
type Visitor struct {
	Provider, Subject string
	Name, AvatarURL   string // for a new account
	Invitation        Link   // the zero Link: none
}

// FindOrCreate returns the owner of a provider's account, with the identity. It creates both for an account that is
// new, if its owner is admitted. Errors: ErrCredentials if the identity is removed at the same time, ErrUnconfirmed,
// ErrDisabled, ErrUninvited.
func (a *Accounts) FindOrCreate(ctx context.Context, tx pgx.Tx, v Visitor) (owner Proof, err error) {
	if err := LockIdentities(ctx, tx, v.Provider, v.Subject); err != nil {
		return Proof{}, err
	}
	known, err := findIdentity(ctx, tx, v.Provider, v.Subject)
	switch {
	case err == nil && !known.signsIn:
		return Proof{}, ErrUnconfirmed
	case err == nil:
		owner = Proof{UserID: known.userID, IdentityID: known.id}
		return owner, a.StillProven(ctx, tx, owner)
	case !errors.Is(err, ErrNotFound):
		return Proof{}, err
	}
	if owner.UserID, err = a.createFor(ctx, tx, v); err != nil {
		return Proof{}, err
	}
	owner.IdentityID, err = insertIdentity(ctx, tx, owner.UserID, v.Provider, v.Subject, true)
	return owner, err
}

// createFor makes an account that has no sign-in method yet.
func (a *Accounts) createFor(ctx context.Context, tx pgx.Tx, v Visitor) (userID int64, err error) {
	if err := a.admit(ctx, tx, v.Invitation); err != nil {
		return 0, err
	}
	err = tx.QueryRow(ctx, `
		INSERT INTO cairn.users (display_name, avatar_url) VALUES ($1, NULLIF($2, '')) RETURNING id`,
		nameFrom(v.Name), v.AvatarURL).Scan(&userID)
	if err != nil {
		return 0, fmt.Errorf("auth: insert user: %w", err)
	}
	return userID, giveEmail(ctx, tx, userID, v.Invitation)
}

// Disconnect ends the connection of an identity, if it has one, before the identity is removed.
type Disconnect func(provider string, identityID int64) error

// RemoveIdentity removes a provider's account as a sign-in method, and with it its connection. It calls disconnect in
// the transaction before it removes anything. Errors: ErrNotFound, ErrLastMethod; disconnect's.
func (a *Accounts) RemoveIdentity(
	ctx context.Context, tx pgx.Tx, userID, identityID int64, disconnect Disconnect,
) (provider string, err error) {
	if err := lockMethods(ctx, tx, userID); err != nil {
		return "", err
	}
	err = tx.QueryRow(ctx, `
		SELECT provider FROM cairn.identities
		WHERE id = $1 AND user_id = $2 AND signs_in FOR UPDATE`, identityID, userID).Scan(&provider)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", ErrNotFound
	}
	if err != nil {
		return "", fmt.Errorf("auth: find identity %d: %w", identityID, err)
	}
	if err := disconnect(provider, identityID); err != nil {
		return "", err
	}
	_, err = tx.Exec(ctx, `DELETE FROM cairn.identities WHERE id = $1 AND user_id = $2`, identityID, userID)
	if err != nil {
		return "", fmt.Errorf("auth: remove identity %d: %w", identityID, err)
	}
	if err := a.requireMethod(ctx, tx, userID); err != nil {
		return "", err
	}
	return provider, a.Notify(ctx, tx, userID, mail.MethodRemoved, mail.Facts{"provider": provider})
}

// removeIdentities removes the identities that meet a condition, and their connections. Errors: disconnect's.
func removeIdentities(ctx context.Context, tx pgx.Tx, disconnect Disconnect, condition string, args ...any) error {
	type identity struct {
		ID       int64
		Provider string
	}
	rows, _ := tx.Query(ctx, `
		SELECT id, provider FROM cairn.identities WHERE `+condition+` ORDER BY id FOR UPDATE`, args...)
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[identity]) // it returns the error of Query, too
	if err != nil {
		return fmt.Errorf("auth: find identities to remove: %w", err)
	}
	for _, i := range found {
		if err := disconnect(i.Provider, i.ID); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM cairn.identities WHERE id = $1`, i.ID); err != nil {
			return fmt.Errorf("auth: remove identity %d: %w", i.ID, err)
		}
	}
	return nil
}

// LockIdentities lets no other transaction decide which users these accounts at a provider belong to until the
// transaction ends, even if the accounts have no rows yet. It comes before the locks of the users, who are only known
// afterwards.
func LockIdentities(ctx context.Context, tx pgx.Tx, provider string, subjects ...string) error {
	_, err := tx.Exec(ctx, `
		SELECT pg_advisory_xact_lock(key) FROM (
			SELECT DISTINCT hashtextextended($1 || ' ' || subject, 7261) AS key FROM unnest($2::text[]) AS subject
			ORDER BY key) ordered`, provider, subjects)
	if err != nil {
		return fmt.Errorf("auth: lock identities of %s: %w", provider, err)
	}
	return nil
}

// knownIdentity is an identity as it was found.
type knownIdentity struct {
	id, userID int64
	signsIn    bool
}

func findIdentity(ctx context.Context, tx pgx.Tx, provider, subject string) (found knownIdentity, err error) {
	err = tx.QueryRow(ctx, `
		SELECT id, user_id, signs_in FROM cairn.identities WHERE provider = $1 AND subject = $2`,
		provider, subject).Scan(&found.id, &found.userID, &found.signsIn)
	if errors.Is(err, pgx.ErrNoRows) {
		return knownIdentity{}, ErrNotFound
	}
	if err != nil {
		return knownIdentity{}, fmt.Errorf("auth: find identity of %s: %w", provider, err)
	}
	return found, nil
}

func insertIdentity(
	ctx context.Context, tx pgx.Tx, userID int64, provider, subject string, signsIn bool,
) (id int64, err error) {
	err = tx.QueryRow(ctx, `
		INSERT INTO cairn.identities (user_id, provider, subject, signs_in) VALUES ($1, $2, $3, $4) RETURNING id`,
		userID, provider, subject, signsIn).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("auth: insert identity of %s: %w", provider, err)
	}
	return id, nil
}
