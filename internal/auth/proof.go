package auth

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Proof is a credential that was checked: a password or a provider's account. It may have been changed or removed
// since; StillProven checks that.
type Proof struct {
	UserID     int64
	IdentityID int64 // of the provider's account; 0: the credential is the password

	email, hash string // of the password
	stamped     []byte // stamp, if the hash itself is not here
}

// stamp is a digest of the password's hash: what a browser may keep of it.
func (p Proof) stamp() []byte {
	if p.hash == "" {
		return p.stamped
	}
	return digest(p.hash)
}

// StillProven checks, in the transaction that acts on a credential, that it was neither changed nor removed since. It
// locks the user, then the credential. Only the holder of a credential learns that the account is disabled. Errors:
// ErrCredentials, ErrDisabled.
func (a *Accounts) StillProven(ctx context.Context, tx pgx.Tx, p Proof) error {
	credential := `SELECT true FROM cairn.identities WHERE user_id = $1 AND id = $2 AND signs_in FOR SHARE`
	args := []any{p.UserID, p.IdentityID}
	if p.IdentityID == 0 {
		credential = `SELECT true FROM cairn.passwords WHERE user_id = $1 AND sha256(hash::bytea) = $2 FOR SHARE`
		args[1] = p.stamp()
	}
	disabled := KeepUser(ctx, tx, p.UserID)
	switch {
	case errors.Is(disabled, ErrNotFound):
		return ErrCredentials
	case disabled != nil && !errors.Is(disabled, ErrDisabled):
		return disabled
	}
	var proven bool
	err := tx.QueryRow(ctx, credential, args...).Scan(&proven)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrCredentials
	}
	if err != nil {
		return fmt.Errorf("auth: check a credential of user %d again: %w", p.UserID, err)
	}
	return disabled
}

// KeepUser keeps a user from being deleted or disabled until the transaction ends, also if it is disabled already.
// Every transaction that lets somebody in calls it. Errors: ErrNotFound, ErrDisabled.
func KeepUser(ctx context.Context, tx pgx.Tx, userID int64) error {
	return enabled(userID, tx.QueryRow(ctx, `
		SELECT disabled_at IS NOT NULL FROM cairn.users WHERE id = $1 FOR KEY SHARE`, userID))
}

// Enabled checks that a user may use the account. It is for what begins no session and locks nothing. Errors:
// ErrNotFound, ErrDisabled.
func (a *Accounts) Enabled(ctx context.Context, userID int64) error {
	return enabled(userID, a.pool.QueryRow(ctx, `
		SELECT disabled_at IS NOT NULL FROM cairn.users WHERE id = $1`, userID))
}

func enabled(userID int64, row pgx.Row) error {
	var disabled bool
	switch err := row.Scan(&disabled); {
	case errors.Is(err, pgx.ErrNoRows):
		return ErrNotFound
	case err != nil:
		return fmt.Errorf("auth: find user %d: %w", userID, err)
	case disabled:
		return ErrDisabled
	}
	return nil
}
