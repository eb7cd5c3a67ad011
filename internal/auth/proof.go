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
	UserID int64

	email, hash string // of the password
	identityID  int64  // 0: the credential is the password
}

// StillProven checks, in the transaction that acts on a credential, that it was neither changed nor removed since. It
// locks the user, then the credential. Errors: ErrCredentials.
func (a *Accounts) StillProven(ctx context.Context, tx pgx.Tx, p Proof) error {
	credential := `SELECT true FROM cairn.identities WHERE user_id = $1 AND id = $2 AND signs_in FOR SHARE`
	args := []any{p.UserID, p.identityID}
	if p.identityID == 0 {
		credential = `SELECT true FROM cairn.passwords WHERE user_id = $1 AND hash = $2 FOR SHARE`
		args[1] = p.hash
	}
	if err := KeepUser(ctx, tx, p.UserID); errors.Is(err, ErrNotFound) {
		return ErrCredentials
	} else if err != nil {
		return err
	}
	var proven bool
	err := tx.QueryRow(ctx, credential, args...).Scan(&proven)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrCredentials
	}
	if err != nil {
		return fmt.Errorf("auth: check a credential of user %d again: %w", p.UserID, err)
	}
	return nil
}

// KeepUser keeps a user from being deleted until the transaction ends. Errors: ErrNotFound.
func KeepUser(ctx context.Context, tx pgx.Tx, userID int64) error {
	var kept bool
	err := tx.QueryRow(ctx, `SELECT true FROM cairn.users WHERE id = $1 FOR KEY SHARE`, userID).Scan(&kept)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("auth: lock user %d: %w", userID, err)
	}
	return nil
}
