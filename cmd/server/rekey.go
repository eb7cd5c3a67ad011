package main

import (
	"context"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/oauth"
	"cairn/internal/seal"
)

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
	connections := oauth.New(pool, sealer)
	total := 0
	for more := true; more; {
		var done int
		done, more, err = connections.Rekey(ctx)
		total += done
		if err != nil {
			return fmt.Errorf("stopped after %d sealed tokens, run it again: %w", total, err)
		}
	}
	_, err = fmt.Fprintf(out, "The tokens of %d connections and withdrawals are sealed anew with the key %s. Once every server has it in front, and this command finds nothing to do, the older keys can go.\n",
		total, sealer.KeyIDs()[0])
	return err
}
