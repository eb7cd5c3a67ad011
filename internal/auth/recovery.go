package auth

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/alexedwards/argon2id"
	"github.com/jackc/pgx/v5"

	"cairn/internal/mail"
)

const (
	maxCodes  = 10 // recovery codes that an account has
	codeStart = 4  // letters of a code that are stored as they are
	codeSize  = 12
	// codeLetters are the digits and letters that nobody mistakes for one another.
	codeLetters = "0123456789abcdefghjkmnpqrstvwxyz"
)

// RecoveryCodes are new recovery codes. The zero value is none. They are made outside the transaction that stores them,
// because hashing takes a while.
type RecoveryCodes struct {
	Codes      []string // "k3vd-9w2m-x7hp"
	TwoFactors bool     // the session that replaces others by them has proven two

	hashes []string // of what follows the start
}

// NewCodes makes recovery codes, which are not stored yet. Errors: ErrBusy.
func (a *Accounts) NewCodes(ctx context.Context) (c RecoveryCodes, err error) {
	taken := map[string]bool{}
	for len(c.Codes) < maxCodes {
		code := randomCode()
		if taken[code[:codeStart]] {
			continue
		}
		taken[code[:codeStart]] = true
		hash, err := a.hash.code(ctx, code[codeStart:])
		if err != nil {
			return RecoveryCodes{}, err
		}
		c.Codes = append(c.Codes, code[:4]+"-"+code[4:8]+"-"+code[8:])
		c.hashes = append(c.hashes, hash)
	}
	return c, nil
}

func randomCode() string {
	code := make([]byte, codeSize)
	_, _ = rand.Read(code) // never fails
	for i, b := range code {
		code[i] = codeLetters[int(b)%len(codeLetters)] // 256 is a multiple of 32
	}
	return string(code)
}

// code hashes the secret part of a recovery code: 40 random bits, which need a slow hash. Errors: ErrBusy.
func (h *hasher) code(ctx context.Context, secret string) (hash string, err error) {
	err = h.run(ctx, func() error {
		hash, err = argon2id.CreateHash(secret, h.params)
		return err
	})
	return hash, err
}

// plainCode is a code as it is compared: without what people put between its parts, and with digits for the letters
// that look like them.
func plainCode(typed string) string {
	return strings.NewReplacer(" ", "", "-", "", "\u00a0", "", "o", "0", "i", "1", "l", "1").
		Replace(strings.ToLower(strings.TrimSpace(typed)))
}

// firstCodes makes codes for an account that has none, and returns none for another one. Errors: ErrBusy.
func (a *Accounts) firstCodes(ctx context.Context, userID int64) (RecoveryCodes, error) {
	var has bool
	err := a.pool.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM cairn.recovery_codes WHERE user_id = $1)`, userID).Scan(&has)
	switch {
	case err != nil:
		return RecoveryCodes{}, fmt.Errorf("auth: look for codes of user %d: %w", userID, err)
	case has:
		return RecoveryCodes{}, nil
	}
	return a.NewCodes(ctx)
}

// giveCodes stores codes if the account has none, and returns those that it has stored.
func giveCodes(ctx context.Context, tx pgx.Tx, userID int64, c RecoveryCodes) ([]string, error) {
	var has bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM cairn.recovery_codes WHERE user_id = $1)`, userID).Scan(&has)
	switch {
	case err != nil:
		return nil, fmt.Errorf("auth: look for codes of user %d: %w", userID, err)
	case has || len(c.Codes) == 0:
		return nil, nil
	}
	return c.Codes, storeCodes(ctx, tx, userID, c)
}

func storeCodes(ctx context.Context, tx pgx.Tx, userID int64, c RecoveryCodes) error {
	var starts []string
	for _, code := range c.Codes {
		starts = append(starts, code[:codeStart])
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO cairn.recovery_codes (user_id, start, hash)
		SELECT $1, * FROM unnest($2::text[], $3::text[])`, userID, starts, c.hashes)
	if err != nil {
		return fmt.Errorf("auth: store codes of user %d: %w", userID, err)
	}
	return nil
}

// ReplaceCodes gives an account with a second factor new recovery codes, and ends the ones that it has. Errors:
// ErrNotFound, ErrFactor.
func (a *Accounts) ReplaceCodes(ctx context.Context, tx pgx.Tx, userID int64, c RecoveryCodes) error {
	if err := lockMethods(ctx, tx, userID); err != nil {
		return err
	}
	if err := requireFactors(ctx, tx, userID, c.TwoFactors); err != nil {
		return err
	}
	// Passkeys that were added before there were recovery codes have no row yet.
	tag, err := tx.Exec(ctx, `
		WITH old AS (DELETE FROM cairn.recovery_codes WHERE user_id = $1)
		INSERT INTO cairn.second_factors (user_id)
		SELECT $1 WHERE EXISTS (SELECT FROM cairn.passkeys WHERE user_id = $1)
		             OR EXISTS (SELECT FROM cairn.second_factors WHERE user_id = $1)
		ON CONFLICT (user_id) DO UPDATE SET wrong_codes = 0`, userID)
	if err != nil {
		return fmt.Errorf("auth: end codes of user %d: %w", userID, err)
	}
	if tag.RowsAffected() == 0 {
		return ErrNotFound
	}
	if err := storeCodes(ctx, tx, userID, c); err != nil {
		return err
	}
	return a.Notify(ctx, tx, userID, mail.CodesMade, nil)
}

// noteFactor notes that an account has a second factor.
func noteFactor(ctx context.Context, tx pgx.Tx, userID int64) error {
	_, err := tx.Exec(ctx, `INSERT INTO cairn.second_factors (user_id) VALUES ($1) ON CONFLICT DO NOTHING`, userID)
	if err != nil {
		return fmt.Errorf("auth: note the second factor of user %d: %w", userID, err)
	}
	return nil
}
