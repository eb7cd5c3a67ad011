package auth

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// BrowserLife is how long an account knows a browser after its last sign-in.
const BrowserLife = 400 * 24 * time.Hour

// maxBrowsers is how many browsers an account knows: the most recent ones.
const maxBrowsers = 50

// RememberBrowser makes the browser with this token a known browser of an account, in the transaction of a sign-in. A
// known browser is exempt from the limit that strangers can use up for an account (SignIn). That does not sign it in.
// isNew says that the account knew others, and not this one.
func (a *Accounts) RememberBrowser(
	ctx context.Context, tx pgx.Tx, userID int64, token string,
) (isNew bool, err error) {
	err = tx.QueryRow(ctx, `
		WITH forgotten AS (
			DELETE FROM cairn.browsers WHERE user_id = $2 AND token_hash IN (
				SELECT token_hash FROM cairn.browsers
				WHERE user_id = $2 AND token_hash <> $1
				ORDER BY last_used DESC OFFSET $3 - 1))
		INSERT INTO cairn.browsers (token_hash, user_id) VALUES ($1, $2)
		ON CONFLICT (token_hash, user_id) DO UPDATE SET last_used = now()
		RETURNING NOT EXISTS (SELECT FROM cairn.browsers WHERE user_id = $2 AND token_hash = $1)
		          AND EXISTS (SELECT FROM cairn.browsers WHERE user_id = $2)`, // as they were before this statement
		digest(token), userID, maxBrowsers).Scan(&isNew)
	if err != nil {
		return false, fmt.Errorf("auth: remember a browser of user %d: %w", userID, err)
	}
	return isNew, nil
}

// ForgetBrowsers deletes the known browsers of an account, in the transaction that locks others out of it.
func (a *Accounts) ForgetBrowsers(ctx context.Context, tx pgx.Tx, userID int64) error {
	if _, err := tx.Exec(ctx, `DELETE FROM cairn.browsers WHERE user_id = $1`, userID); err != nil {
		return fmt.Errorf("auth: forget browsers of user %d: %w", userID, err)
	}
	return nil
}

// SweepBrowsers deletes one batch of browsers that have not signed in for BrowserLife, and reports whether more may be
// left.
func (a *Accounts) SweepBrowsers(ctx context.Context) (more bool, err error) {
	tag, err := a.pool.Exec(ctx, `
		DELETE FROM cairn.browsers WHERE (token_hash, user_id) IN (
			SELECT token_hash, user_id FROM cairn.browsers
			WHERE last_used < now() - $1::interval ORDER BY last_used LIMIT $2 FOR UPDATE SKIP LOCKED)`,
		BrowserLife, sweepBatch)
	if err != nil {
		return false, fmt.Errorf("auth: sweep browsers: %w", err)
	}
	return tag.RowsAffected() == sweepBatch, nil
}

func digest(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}
