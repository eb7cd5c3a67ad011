package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/config"
	"cairn/internal/connection"
	"cairn/internal/instance"
	"cairn/internal/oauth"
	"cairn/internal/seal"
)

// AboutRekey explains Rekey.
const AboutRekey = `
It runs beside servers, can be stopped, and can be run again. It does nothing while
a server runs that does not know the newest key, and names it. It says when the
older keys can go.
`

// Rekey seals all tokens with the newest ENCRYPTION_KEY, beside running servers, and says when the older ones can go.
func Rekey(ctx context.Context, e Env, out io.Writer) error {
	if err := Parse(e.Args, nil); err != nil {
		return err
	}
	return e.database(ctx, func(c config.Config, pool *pgxpool.Pool) error {
		c, err := c.WithSecrets()
		if err != nil {
			return err
		}
		sealer, err := seal.New(c.EncryptionKeys...)
		if err != nil {
			return err
		}
		connections := connection.New(connection.Deps{
			Pool: pool, Sealer: sealer, Client: oauth.NewClient(pool, oauth.Options{Limits: e.Limits.Calls}),
		})
		if err := connections.CheckKeys(ctx); err != nil {
			return fmt.Errorf("ENCRYPTION_KEY lacks a key that is in use: %w", err)
		}
		newest := sealer.KeyIDs()[0]
		if err := allHold(ctx, pool, newest); err != nil {
			return err
		}
		return rekey(ctx, connections, newest, out)
	})
}

func rekey(ctx context.Context, connections *connection.Store, newest string, out io.Writer) error {
	done, err := connections.Rekey(ctx)
	if errors.Is(err, seal.ErrOpen) {
		return fmt.Errorf("sealed anew: %d. These are damaged, and no key opens them. "+
			"Their owners have to disconnect and connect again; until then the older keys have to stay:\n%w", done, err)
	}
	if err != nil {
		return fmt.Errorf("stopped after %d sealed tokens, run it again: %w", done, err)
	}
	_, err = fmt.Fprintf(out, "The tokens of %d connections and revocations are sealed anew with the key %s. "+
		"Once every server has it in front, and this command finds nothing to do, the older keys can go.\n",
		done, newest)
	return err
}

// allHold fails, and names them, if servers run that do not hold a key: they could not open what it seals.
func allHold(ctx context.Context, pool *pgxpool.Pool, key string) error {
	lacking, err := instance.Lacking(ctx, pool, key)
	if err != nil || len(lacking) == 0 {
		return err
	}
	var names []string
	for _, i := range lacking {
		names = append(names, fmt.Sprintf("  %s at %s, started %s, last seen %s",
			i.ID, i.Hostname, stamp(i.Started), stamp(i.LastSeen)))
	}
	return fmt.Errorf("nothing was sealed: these servers do not know the newest key, %s, "+
		"and could not read what it seals:\n%s\n"+
		"Put it in front of ENCRYPTION_KEY there, restart them, and run this again. "+
		"One that was killed counts for two minutes after it was last seen",
		key, strings.Join(names, "\n"))
}
