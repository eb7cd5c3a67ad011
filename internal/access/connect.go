package access

import (
	"context"

	"github.com/jackc/pgx/v5"

	"cairn/internal/auth"
	"cairn/internal/oauth"
	"cairn/internal/session"
)

// Connect connects an account of a provider, which becomes a sign-in method, too, if the session in which the attempt
// began has not ended. Errors: auth.ErrLinked, auth.ErrNotRecent, connection.ErrOtherAccount, session.ErrEnded.
func (a *Access) Connect(ctx context.Context, attempt oauth.Attempt, g oauth.Grant) error {
	current, _ := session.Current(ctx)
	how := auth.NotRecent
	if current.RecentAt(attempt.Begun) {
		how = auth.Recent
	}
	return a.connect(ctx, attempt.UserID, g, how, a.Sessions.StillLive)
}

// ConnectUnconfirmed connects an account of a provider for a user without a session. It does not become a sign-in
// method. prove checks at the end of the transaction that the user may still do that. Errors: those of Connect,
// auth.ErrUnconfirmed, prove's.
func (a *Access) ConnectUnconfirmed(
	ctx context.Context, userID int64, g oauth.Grant, prove func(context.Context, pgx.Tx) error,
) error {
	return a.connect(ctx, userID, g, auth.Unconfirmed, prove)
}

func (a *Access) connect(ctx context.Context, userID int64, g oauth.Grant, how auth.Linking,
	prove func(context.Context, pgx.Tx) error,
) error {
	return pgx.BeginFunc(ctx, a.Sessions.Pool, func(tx pgx.Tx) error {
		identityID, err := a.Accounts.Link(ctx, tx, userID, g.Provider.Key, g.Subject, how)
		if err != nil {
			return err
		}
		if err := a.Connections.Connect(ctx, tx, g, userID, identityID); err != nil {
			return err
		}
		return prove(ctx, tx)
	})
}
