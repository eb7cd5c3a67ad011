package access

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"cairn/internal/connection"
	"cairn/internal/oauth"
)

// Deleted says what becomes of our access at the providers that a person had connected.
type Deleted struct {
	Revoking []*oauth.Provider // revoked in the background
	Manual   []*oauth.Provider // only the person can remove it
}

// Delete deletes the account that is signed in, with everything of it, and signs out. Errors: auth.ErrNotFound,
// session.ErrEnded.
func (a *Access) Delete(ctx context.Context, userID int64) (d Deleted, err error) {
	d, err = a.delete(ctx, userID, func(tx pgx.Tx) error { return a.Sessions.StillLive(ctx, tx) })
	if err != nil {
		return Deleted{}, err
	}
	return d, a.Sessions.SignOut(ctx)
}

// DeleteByOperator deletes an account like Delete. The context is no request's. Errors: auth.ErrNotFound.
func (a *Access) DeleteByOperator(ctx context.Context, userID int64) (Deleted, error) {
	return a.delete(ctx, userID, func(pgx.Tx) error { return nil })
}

func (a *Access) delete(ctx context.Context, userID int64, prove func(pgx.Tx) error) (d Deleted, err error) {
	err = a.Accounts.Delete(ctx, userID, func(tx pgx.Tx) error {
		d = Deleted{}
		if err := a.endLinks(ctx, tx, userID); err != nil {
			return err
		}
		if err := prove(tx); err != nil {
			return err
		}
		return a.disconnectAll(ctx, tx, userID, &d)
	})
	return d, err
}

func (a *Access) disconnectAll(ctx context.Context, tx pgx.Tx, userID int64, d *Deleted) error {
	for _, p := range a.Providers {
		revoking, err := a.Connections.Disconnect(ctx, tx, p, userID, 0)
		switch {
		case errors.Is(err, connection.ErrNotFound):
		case err != nil:
			return err
		case revoking:
			d.Revoking = append(d.Revoking, p)
		default:
			d.Manual = append(d.Manual, p)
		}
	}
	return nil
}
