package access

import (
	"context"

	"github.com/jackc/pgx/v5"

	"cairn/internal/oauth"
	"cairn/internal/session"
)

// Connect connects an account of a provider, which becomes a sign-in method, too, if the session in which the attempt
// began has not ended. Errors: auth.ErrLinked, auth.ErrNotRecent, connection.ErrOtherAccount, session.ErrEnded.
func (a *Access) Connect(ctx context.Context, attempt oauth.Attempt, g oauth.Grant) error {
	current, _ := session.Current(ctx)
	recent := current.RecentAt(attempt.Begun)
	return pgx.BeginFunc(ctx, a.Sessions.Pool, func(tx pgx.Tx) error {
		identityID, err := a.Accounts.Link(ctx, tx, attempt.UserID, g.Provider.Key, g.Subject, recent)
		if err != nil {
			return err
		}
		if err := a.Connections.Connect(ctx, tx, g, attempt.UserID, identityID); err != nil {
			return err
		}
		return a.Sessions.StillLive(ctx, tx)
	})
}
