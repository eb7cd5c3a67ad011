package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/instance"
	"cairn/internal/oauth"
	"cairn/internal/seal"
)

const aboutRekey = `
It runs beside servers, can be stopped, and can be run again. It does nothing while
a server runs that does not know the newest key, and names it. It says when the
older keys can go.
`

func rekeyCommand(ctx context.Context, e env, out io.Writer) error {
	if err := parse(e.args, nil); err != nil {
		return err
	}
	return e.database(ctx, func(config Config, pool *pgxpool.Pool) error { return rekey(ctx, config, pool, out) })
}

// rekey seals all tokens with the newest ENCRYPTION_KEY, beside running servers, and says when the older ones can go.
func rekey(ctx context.Context, config Config, pool *pgxpool.Pool, out io.Writer) error {
	config, err := withSecrets(config)
	if err != nil {
		return err
	}
	sealer, err := seal.New(config.EncryptionKeys...)
	if err != nil {
		return err
	}
	connections := oauth.New(pool, sealer, oauth.Options{Limits: config.limits.Calls})
	if err := needKeys(ctx, connections); err != nil {
		return err
	}
	if err := allHold(ctx, pool, sealer.KeyIDs()[0]); err != nil {
		return err
	}
	done, err := connections.Rekey(ctx)
	if errors.Is(err, seal.ErrOpen) {
		return fmt.Errorf("sealed anew: %d. These are damaged, and no key opens them. "+
			"Their owners have to disconnect and connect again; until then the older keys have to stay:\n%w", done, err)
	}
	if err != nil {
		return fmt.Errorf("stopped after %d sealed tokens, run it again: %w", done, err)
	}
	_, err = fmt.Fprintf(out, "The tokens of %d connections and withdrawals are sealed anew with the key %s. "+
		"Once every server has it in front, and this command finds nothing to do, the older keys can go.\n",
		done, sealer.KeyIDs()[0])
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

// needKeys fails, and names the id, if a key is not configured that sealed something.
func needKeys(ctx context.Context, connections *oauth.Store) error {
	if err := connections.CheckKeys(ctx); err != nil {
		return fmt.Errorf("ENCRYPTION_KEY lacks a key that is in use: %w", err)
	}
	return nil
}
