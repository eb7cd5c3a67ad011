package auth

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"cairn/internal/mail"
)

// accountsBatch is how many accounts are read at once for a list of all.
const accountsBatch = 500

// Each calls do with each account, in the order of their ids. It reads them in batches, so that a list of many takes
// neither much memory nor a long statement.
func (a *Accounts) Each(ctx context.Context, do func(Account) error) error {
	for after, more := int64(0), true; more; {
		batch, err := a.accountsAfter(ctx, after)
		if err != nil {
			return err
		}
		for _, account := range batch {
			if err := do(account); err != nil {
				return err
			}
			after = account.ID
		}
		more = len(batch) == accountsBatch
	}
	return nil
}

func (a *Accounts) accountsAfter(ctx context.Context, after int64) ([]Account, error) {
	rows, _ := a.pool.Query(ctx, selectAccounts+`WHERE u.id > $1 ORDER BY u.id LIMIT $2`,
		after, accountsBatch) // CollectRows returns its error
	batch, err := pgx.CollectRows(rows, scanAccount)
	if err != nil {
		return nil, fmt.Errorf("auth: list accounts: %w", err)
	}
	ids := make([]int64, len(batch))
	for i, account := range batch {
		ids[i] = account.ID
	}
	var credentials pgx.Batch
	identities, passkeys := a.queueCredentials(&credentials, ids)
	if err := a.pool.SendBatch(ctx, &credentials).Close(); err != nil {
		return nil, fmt.Errorf("auth: read credentials: %w", err)
	}
	for i := range batch {
		batch[i].Identities, batch[i].Passkeys = identities[batch[i].ID], passkeys[batch[i].ID]
	}
	return batch, nil
}

// ErrNoEmail says that an account has no e-mail address, with which a password would sign in.
var ErrNoEmail = errors.New("auth: the account has no e-mail address")

// MakeResetLink makes a link with which a person can choose a new password, for an operator to hand over, and returns
// its token. It leaves other links as they are. Errors: ErrNotFound, ErrDisabled, ErrNoEmail.
func (a *Accounts) MakeResetLink(ctx context.Context, userID int64) (token string, err error) {
	err = pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		if err := KeepUser(ctx, tx, userID); err != nil {
			return err
		}
		l := Link{Purpose: ToReset, UserID: userID, details: linkDetails{By: byOperator}}
		err := tx.QueryRow(ctx, `SELECT email, email_key FROM cairn.emails WHERE user_id = $1`, userID).
			Scan(&l.Email, &l.key)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNoEmail
		}
		if err != nil {
			return fmt.Errorf("auth: find the address of user %d: %w", userID, err)
		}
		if _, token, err = a.makeLink(ctx, tx, l); err != nil {
			return err
		}
		return a.Notify(ctx, tx, userID, mail.ResetLinkMade, nil)
	})
	return token, err
}

// FactorsReset is what ResetFactors has removed.
type FactorsReset struct {
	Passkeys int64
	App      bool
	Methods  int // sign-in methods that are left
}

// ResetFactors removes the passkeys, the authenticator app and the recovery codes of an account whose owner has lost
// them. If no sign-in method is left, the owner needs a link for a new password, so there must be an address. The
// caller ends sessions. Errors: ErrNotFound, ErrDisabled; ErrNoEmail.
func (a *Accounts) ResetFactors(ctx context.Context, tx pgx.Tx, userID int64) (done FactorsReset, err error) {
	if err := lockMethods(ctx, tx, userID); err != nil {
		return FactorsReset{}, err
	}
	err = tx.QueryRow(ctx, `
		WITH removed AS (DELETE FROM cairn.passkeys WHERE user_id = $1 RETURNING 1),
		     factor AS (DELETE FROM cairn.second_factors WHERE user_id = $1 RETURNING app),
		     asked AS (UPDATE cairn.identities SET skips_code = false WHERE user_id = $1 AND skips_code)
		SELECT (SELECT count(*) FROM removed), EXISTS (SELECT FROM factor WHERE app IS NOT NULL),
		       (SELECT count(*) FROM cairn.identities WHERE user_id = $1 AND signs_in) +
		       (SELECT count(*) FROM cairn.passwords WHERE user_id = $1)`, userID).
		Scan(&done.Passkeys, &done.App, &done.Methods)
	if err != nil {
		return FactorsReset{}, fmt.Errorf("auth: reset the second factor of user %d: %w", userID, err)
	}
	var address bool
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM cairn.emails WHERE user_id = $1)`, userID).Scan(&address)
	switch {
	case err != nil:
		return FactorsReset{}, fmt.Errorf("auth: find the address of user %d: %w", userID, err)
	case done.Methods == 0 && !address:
		return FactorsReset{}, ErrNoEmail
	}
	return done, a.Notify(ctx, tx, userID, mail.FactorsReset, nil)
}

// Disable lets nobody in to an account until Enable, and reports whether that is new. It waits for sign-ins that are
// under way, so that the caller ends their sessions, too.
func (a *Accounts) Disable(ctx context.Context, tx pgx.Tx, userID int64) (changed bool, err error) {
	// This lock conflicts with that of KeepUser, unlike the one that an UPDATE of this column takes by itself.
	if _, err := tx.Exec(ctx, `SELECT FROM cairn.users WHERE id = $1 FOR UPDATE`, userID); err != nil {
		return false, fmt.Errorf("auth: lock user %d: %w", userID, err)
	}
	return a.setDisabled(ctx, tx, userID, mail.AccountDisabled, `
		UPDATE cairn.users SET disabled_at = now() WHERE id = $1 AND disabled_at IS NULL`)
}

// Enable undoes Disable, and reports whether the account was disabled.
func (a *Accounts) Enable(ctx context.Context, userID int64) (changed bool, err error) {
	err = pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		changed, err = a.setDisabled(ctx, tx, userID, mail.AccountEnabled, `
			UPDATE cairn.users SET disabled_at = NULL WHERE id = $1 AND disabled_at IS NOT NULL`)
		return err
	})
	return changed, err
}

func (a *Accounts) setDisabled(
	ctx context.Context, tx pgx.Tx, userID int64, kind mail.Kind, statement string,
) (changed bool, err error) {
	tag, err := tx.Exec(ctx, statement, userID)
	if err != nil {
		return false, fmt.Errorf("auth: disable or enable user %d: %w", userID, err)
	}
	if tag.RowsAffected() == 0 {
		return false, nil
	}
	return true, a.Notify(ctx, tx, userID, kind, nil)
}
