package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/auth"
	"cairn/internal/config"
	"cairn/internal/connection"
	"cairn/internal/instance"
	"cairn/internal/seal"
	"cairn/internal/sealed"
)

// AboutRekey explains Rekey.
const AboutRekey = `
It can run while servers run, and can be stopped and run again. If a running server
lacks the newest key, it changes nothing and names that server. It says when the
older keys can be removed.
`

// Secrets are all columns whose values ENCRYPTION_KEY seals.
func Secrets(pool *pgxpool.Pool, sealer *seal.Sealer) sealed.Columns {
	all := slices.Concat(connection.SealedColumns(), auth.SealedColumns())
	return sealed.Columns{Pool: pool, Sealer: sealer, All: all}
}

// Rekey seals all secrets with the newest ENCRYPTION_KEY while servers run, and says when the older keys can be
// removed.
func Rekey(ctx context.Context, e Env, out io.Writer) error {
	if err := Parse(e.Args, nil); err != nil {
		return err
	}
	return e.Database(ctx, func(c config.Config, pool *pgxpool.Pool) error {
		c, err := c.WithSecrets()
		if err != nil {
			return err
		}
		sealer, err := seal.New(c.EncryptionKeys...)
		if err != nil {
			return err
		}
		secrets := Secrets(pool, sealer)
		if err := CheckKeys(ctx, secrets); err != nil {
			return err
		}
		newest := sealer.KeyIDs()[0]
		if err := allHold(ctx, pool, newest); err != nil {
			return err
		}
		return rekey(ctx, secrets, newest, out)
	})
}

// NewSealer returns a sealer for a command beside running servers: it seals with the newest key that all of them hold.
func NewSealer(ctx context.Context, pool *pgxpool.Pool, c config.Config) (*seal.Sealer, error) {
	sealer, err := seal.New(c.EncryptionKeys...)
	if err != nil {
		return nil, err
	}
	for _, id := range sealer.KeyIDs() {
		lacking, err := instance.Lacking(ctx, pool, id)
		if err != nil {
			return nil, err
		}
		if len(lacking) == 0 {
			sealer.SealWith(id)
			break
		}
	}
	return sealer, nil
}

// CheckKeys fails if ENCRYPTION_KEY lacks a key that is in use, and names that key by its id. Errors: seal.ErrKey.
func CheckKeys(ctx context.Context, secrets sealed.Columns) error {
	err := secrets.Check(ctx)
	if errors.Is(err, seal.ErrKey) {
		return fmt.Errorf("ENCRYPTION_KEY lacks a key that is in use: %w", err)
	}
	return err
}

func rekey(ctx context.Context, secrets sealed.Columns, newest string, out io.Writer) error {
	done, err := secrets.Rekey(ctx)
	if errors.Is(err, seal.ErrOpen) {
		return fmt.Errorf("resealed: %d. These are damaged, and no key opens them. Owners of connections have to "+
			"disconnect and connect again, and accounts with an app need server accounts reset-factors; "+
			"until then, keep the older keys:\n%w", done, err)
	}
	if err != nil {
		return fmt.Errorf("stopped after resealing %d; run it again: %w", done, err)
	}
	_, err = fmt.Fprintf(out, "%s sealed again, with the key %s. "+
		"Once every server has it in front, and this command finds nothing to do, the older keys can be removed.\n",
		Plural(done, "secret"), newest)
	return err
}

// allHold fails if running servers lack a key, because they could not open what it seals. The error names them.
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
	return fmt.Errorf("nothing was resealed: these servers lack the newest key, %s, "+
		"and could not read what it seals:\n%s\n"+
		"Put it first in their ENCRYPTION_KEY, restart them, and run this again. "+
		"A server that was killed counts as running until two minutes after it was last seen",
		key, strings.Join(names, "\n"))
}
