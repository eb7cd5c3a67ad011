package auth

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/db"
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

// TrustLife is how long a trusted browser signs in without a code.
const TrustLife = 30 * 24 * time.Hour

// TrustedBrowser is a known browser that signs in without a code.
type TrustedBrowser struct {
	ID        string // the hash of its token, in hex
	UserAgent string
	LastUsed  time.Time
	Until     time.Time
}

// Trust lets a known browser sign in without a code, for TrustLife.
func (a *Accounts) Trust(ctx context.Context, tx pgx.Tx, userID int64, token string) error {
	_, err := tx.Exec(ctx, `
		UPDATE cairn.browsers SET trusted_until = now() + $3::interval, user_agent = $4
		WHERE token_hash = $1 AND user_id = $2`, digest(token), userID, TrustLife, origin(ctx)["agent"])
	if err != nil {
		return fmt.Errorf("auth: trust a browser of user %d: %w", userID, err)
	}
	return nil
}

// distrust ends the trust in all browsers of an account, because its credentials change.
func (a *Accounts) distrust(ctx context.Context, tx pgx.Tx, userID int64) error {
	_, err := tx.Exec(ctx, `
		UPDATE cairn.browsers SET trusted_until = NULL, user_agent = ''
		WHERE user_id = $1 AND trusted_until IS NOT NULL`, userID)
	if err != nil {
		return fmt.Errorf("auth: end the trust in browsers of user %d: %w", userID, err)
	}
	return nil
}

// selectTrusted reads the trusted browsers of the user $1.
const selectTrusted = `
	SELECT encode(token_hash, 'hex'), user_agent, last_used, trusted_until FROM cairn.browsers
	WHERE user_id = $1 AND trusted_until > now() ORDER BY last_used DESC`

// Distrust ends the trust in one browser. Errors: ErrNotFound.
func (a *Accounts) Distrust(ctx context.Context, userID int64, id string) error {
	tag, err := a.pool.Exec(ctx, `
		UPDATE cairn.browsers SET trusted_until = NULL, user_agent = ''
		WHERE user_id = $1 AND encode(token_hash, 'hex') = $2 AND trusted_until > now()`, userID, id)
	if err != nil {
		return fmt.Errorf("auth: end the trust in a browser of user %d: %w", userID, err)
	}
	if tag.RowsAffected() == 0 {
		return ErrNotFound
	}
	return nil
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
		BrowserLife, db.Batch)
	if err != nil {
		return false, fmt.Errorf("auth: sweep browsers: %w", err)
	}
	return tag.RowsAffected() == db.Batch, nil
}

// SweepTrust forgets the names of one batch of browsers that are no longer trusted, and reports whether more may be
// left.
func (a *Accounts) SweepTrust(ctx context.Context) (more bool, err error) {
	tag, err := a.pool.Exec(ctx, `
		UPDATE cairn.browsers SET trusted_until = NULL, user_agent = '' WHERE (token_hash, user_id) IN (
			SELECT token_hash, user_id FROM cairn.browsers
			WHERE trusted_until < now() ORDER BY trusted_until LIMIT $1 FOR UPDATE SKIP LOCKED)`, db.Batch)
	if err != nil {
		return false, fmt.Errorf("auth: sweep trusted browsers: %w", err)
	}
	return tag.RowsAffected() == db.Batch, nil
}

func digest(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}
