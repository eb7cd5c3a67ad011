package access

import (
	"context"

	"github.com/jackc/pgx/v5"

	"cairn/internal/session"
)

// Disable keeps everybody out of an account, and ends its sessions, for an operator. It returns how many sessions there
// were, and whether the account was enabled before. Its data stays.
func (a *Access) Disable(ctx context.Context, userID int64) (ended int64, changed bool, err error) {
	err = pgx.BeginFunc(ctx, a.Sessions.Pool, func(tx pgx.Tx) error {
		if changed, err = a.Accounts.Disable(ctx, tx, userID); err != nil {
			return err
		}
		ended, err = a.Sessions.EndOthers(ctx, tx, userID, 0, session.ByOperator)
		return err
	})
	return ended, changed, err
}
