package access

import (
	"context"

	"github.com/jackc/pgx/v5"

	"cairn/internal/oauth"
)

// Disconnect ends a person's connection at a provider (connection.Store.Disconnect), and with it an unconfirmed
// identity. Errors: auth.ErrNotFound, connection.ErrNotFound.
func (a *Access) Disconnect(ctx context.Context, p *oauth.Provider, userID int64) (revoking bool, err error) {
	err = pgx.BeginFunc(ctx, a.Sessions.Pool, func(tx pgx.Tx) error {
		return a.Accounts.RemoveUnconfirmed(ctx, tx, userID, p.Key, func() (err error) {
			revoking, err = a.Connections.Disconnect(ctx, tx, p, userID, 0)
			return err
		})
	})
	return revoking && err == nil, err
}
