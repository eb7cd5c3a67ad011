package node

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/admin"
	"cairn/internal/auth"
	"cairn/internal/config"
	"cairn/internal/connection"
	"cairn/internal/oauth"
)

// Why an account at a provider is not freed.
var (
	errNobodys = errors.New("nobody has this account")
	errProven  = errors.New("its user has signed in with it, or connected it here, and keeps it")
)

func freeCommand(ctx context.Context, e admin.Env, out io.Writer) error {
	if len(e.Args) != 2 {
		if err := admin.Parse(e.Args[:min(len(e.Args), 1)], nil); errors.Is(err, flag.ErrHelp) {
			return err
		}
		return admin.UsageError("expected PROVIDER SUBJECT, like strava 1234567")
	}
	provider, subject := e.Args[0], e.Args[1]
	return e.Database(ctx, func(c config.Config, pool *pgxpool.Pool) error {
		c, err := c.WithSecrets()
		if err != nil {
			return err
		}
		known, err := c.Registered(c.Apps, c.Site())
		if err != nil {
			return err
		}
		at := slices.Index(known.Keys(), provider) // not Get: it knows only those that have keys today
		if at < 0 {
			return admin.UsageError(fmt.Sprintf("there is no provider %q", provider))
		}
		d, err := depsOf(ctx, c, pool, e.Limits.Calls)
		if err != nil {
			return err
		}
		userID, err := free(ctx, d, known[at], subject)
		if err != nil {
			return fmt.Errorf("%s %s is not freed: %w", provider, subject, err)
		}
		_, err = fmt.Fprintf(out, "freed %s %s, which user %d had: its owner can sign in with it now\n",
			provider, subject, userID)
		return err
	})
}

// free takes an account at a provider away from the user to whom only an import gave it, with its connection, and
// returns that user. Later imports leave it at that. Errors: errNobodys, errProven.
func free(ctx context.Context, d Deps, p *oauth.Provider, subject string) (userID int64, err error) {
	accounts := auth.New(d.Pool, d.Config.SessionSecret, auth.Options{})
	err = pgx.BeginFunc(ctx, d.Pool, func(tx pgx.Tx) error {
		if err := auth.LockIdentities(ctx, tx, p.Key, subject); err != nil {
			return err
		}
		claimed, err := claimedBy(ctx, tx, p, subject)
		if err != nil {
			return err
		}
		userID = claimed.UserID
		return accounts.RemoveUnconfirmed(ctx, tx, userID, p.Key, func() error {
			if _, err := claimedBy(ctx, tx, p, subject); err != nil { // confirmed before the user was locked
				return err
			}
			// The tokens are revoked, as when the user disconnects: they open the account of somebody else, who did not
			// give them to this user, and the Node server has the same ones. Deleting ours alone would leave that door
			// open. The owner loses nothing: connecting again gives new ones, and drops a revocation that still waits.
			_, err := d.Connections.Disconnect(ctx, tx, p, userID, claimed.IdentityID)
			if errors.Is(err, connection.ErrNotFound) {
				return nil
			}
			return err
		})
	})
	if errors.Is(err, auth.ErrNotFound) {
		err = errNobodys
	}
	return userID, err
}

// claimedBy returns who has an account at a provider by an import alone. Errors: errNobodys, errProven.
func claimedBy(ctx context.Context, tx pgx.Tx, p *oauth.Provider, subject string) (auth.Owned, error) {
	all, err := auth.OwnedBy(ctx, tx, p.Key, []string{subject})
	if err != nil {
		return auth.Owned{}, err
	}
	owned, there := all[subject]
	switch {
	case !there:
		return auth.Owned{}, errNobodys
	case owned.SignsIn:
		return auth.Owned{}, fmt.Errorf("user %d has it: %w", owned.UserID, errProven)
	}
	return owned, nil
}
