package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/internal/mail"
)

// Undo is the time in which an earlier address of an account can undo the change to the next one.
type Undo struct {
	ID    int64 // of the link
	Email string
	Until time.Time
	Ends  bool // the session can end it
}

// Factors are what a session has proven.
type Factors struct {
	Began time.Time // if it began with a passkey, that passkey was used at this time
	Code  bool      // after a password or a provider
}

// endsUndo is an SQL condition: the session of a user that began at $2, with a code if $3, may end the undo l. It needs
// a second factor, so that an intruder with only the password can't keep the account from its owner. An intruder can
// also add a factor, so it must be one that the undo would leave. A code without an app was a recovery code. Used codes
// are deleted, so its age is read from the remaining ones: at least one must be left, and none may be new.
const endsUndo = `(EXISTS (
	SELECT FROM cairn.passkeys k WHERE k.user_id = l.user_id AND k.last_used_at = $2
	AND k.created_at < l.created_at - $4::interval)
OR $3 AND EXISTS (
	SELECT FROM cairn.second_factors f LEFT JOIN cairn.recovery_codes c USING (user_id)
	WHERE f.user_id = l.user_id AND COALESCE(f.app_since, c.made_at) < l.created_at - $4::interval)
AND NOT EXISTS (
	SELECT FROM cairn.recovery_codes c WHERE c.user_id = l.user_id
	AND c.made_at >= l.created_at - $4::interval))`

// selectUndos reads the changes of address of the user $1 that can still be undone.
const selectUndos = `
	SELECT l.id, l.email, l.expires_at, ` + endsUndo + ` FROM cairn.links l
	WHERE l.user_id = $1 AND l.purpose = 'undo' AND l.expires_at > now() ORDER BY l.id`

// Undos returns a user's changes of address that can still be undone.
func (a *Accounts) Undos(ctx context.Context, userID int64, proven Factors) ([]Undo, error) {
	rows, _ := a.pool.Query(ctx, selectUndos,
		userID, proven.Began, proven.Code, undoneBefore) // CollectRows returns its error
	undos, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Undo])
	if err != nil {
		return nil, fmt.Errorf("auth: find what user %d can undo: %w", userID, err)
	}
	return undos, nil
}

// EndUndo ends an undo, and tells both addresses. The caller makes sure that the session is recent. Errors:
// ErrNotFound, ErrFactor.
func (a *Accounts) EndUndo(ctx context.Context, tx pgx.Tx, userID, id int64, proven Factors) error {
	if err := lockMethods(ctx, tx, userID); err != nil {
		return err
	}
	var old string
	var can bool
	err := tx.QueryRow(ctx, `
		SELECT l.email, `+endsUndo+` FROM cairn.links l
		WHERE l.user_id = $1 AND l.id = $5 AND l.purpose = 'undo' AND l.expires_at > now()`,
		userID, proven.Began, proven.Code, undoneBefore, id).Scan(&old, &can)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return ErrNotFound
	case err != nil:
		return fmt.Errorf("auth: find undo %d: %w", id, err)
	case !can:
		return ErrFactor
	}
	if err := dropLink(ctx, tx, id); err != nil {
		return err
	}
	if err := a.Notify(ctx, tx, userID, mail.UndoEnded, mail.Facts{"email": old}); err != nil {
		return err
	}
	d, err := a.draft(ctx, tx, userID, mail.UndoEnded, origin(ctx))
	if err != nil || d.To == "" {
		return err
	}
	d.To = old
	return a.mail.Put(ctx, tx, d)
}
