package auth

import (
	"context"
	"errors"
	"fmt"
	netmail "net/mail"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"cairn/internal/mail"
)

// lockAddresses lets no other transaction sign up with these addresses, change to them, or count the links to them,
// until this one ends.
func lockAddresses(ctx context.Context, tx pgx.Tx, keys ...string) error {
	_, err := tx.Exec(ctx, `
		SELECT pg_advisory_xact_lock(key) FROM (
			SELECT DISTINCT hashtextextended(email, 7262) AS key FROM unnest($1::text[]) AS email
			ORDER BY key) ordered`, keys)
	if err != nil {
		return fmt.Errorf("auth: lock addresses: %w", err)
	}
	return nil
}

// insertEmail gives an address to a user who has none, if nobody has it. It uses ON CONFLICT for an address that is
// taken: a unique violation would write it to PostgreSQL's log.
func insertEmail(ctx context.Context, tx pgx.Tx, userID int64, email, key string) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO cairn.emails (user_id, email, email_key) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
		userID, email, key)
	if err != nil {
		return fmt.Errorf("auth: insert the address of user %d: %w", userID, err)
	}
	return nil
}

// RequestVerification asks for a link that proves the address of an account. Errors: ErrNotFound, *LimitError.
func (a *Accounts) RequestVerification(ctx context.Context, userID int64, address string) error {
	account, err := a.Get(ctx, userID)
	if err != nil {
		return err
	}
	if account.Email == "" || account.Verified {
		return ErrNotFound
	}
	if err := a.Allow(ctx, a.Limits.MailPerson.Of(userID), a.Limits.MailNetwork.From(address)); err != nil {
		return err
	}
	l := Link{Purpose: ToVerify, UserID: userID, Email: account.Email, key: emailKey(account.Email)}
	return a.requestLink(ctx, l, "")
}

// VerifyEmail notes that the account's owner reads the mail of its address. Errors: ErrLink.
func (a *Accounts) VerifyEmail(ctx context.Context, tx pgx.Tx, l Link) error {
	if err := lockMethods(ctx, tx, l.UserID); err != nil {
		return err
	}
	if err := takeLink(ctx, tx, l); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, `
		UPDATE cairn.emails SET verified_at = now(), refused_at = NULL WHERE user_id = $1 AND email_key = $2`,
		l.UserID, l.key)
	switch {
	case err != nil:
		return fmt.Errorf("auth: verify the address of user %d: %w", l.UserID, err)
	case tag.RowsAffected() == 0:
		return ErrLink
	}
	return a.Notify(ctx, tx, l.UserID, mail.EmailVerified, mail.Facts{"email": l.Email})
}

// MailSent notes that a message to an address was sent.
func (a *Accounts) MailSent(ctx context.Context, address string) error {
	_, err := a.pool.Exec(ctx, `
		UPDATE cairn.emails SET refused_at = NULL WHERE email_key = $1 AND refused_at IS NOT NULL`, emailKey(address))
	if err != nil {
		return fmt.Errorf("auth: note a message that was sent: %w", err)
	}
	return nil
}

// MailRefused notes that a message to an address was refused for good, and tells the account's owner on its page.
func (a *Accounts) MailRefused(ctx context.Context, address string) error {
	userID, err := a.Find(ctx, address)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		if err := KeepUser(ctx, tx, userID); err != nil && !errors.Is(err, ErrDisabled) {
			return err
		}
		tag, err := tx.Exec(ctx, `
			UPDATE cairn.emails SET refused_at = now() WHERE user_id = $1 AND email_key = $2 AND refused_at IS NULL`,
			userID, emailKey(address))
		if err != nil {
			return fmt.Errorf("auth: note a refused message to user %d: %w", userID, err)
		}
		if tag.RowsAffected() == 0 {
			return nil
		}
		return record(ctx, tx, userID, mail.EmailRefused, mail.Facts{"email": address})
	})
}

// parseEmail returns an address as it is stored, and the key that makes it unique. It normalises before it parses, so
// that no look-alike of "@" slips through.
func parseEmail(input string) (email, key string, err error) {
	email = strings.TrimSpace(norm.NFKC.String(input))
	parsed, err := netmail.ParseAddress(email)
	_, domain, _ := strings.Cut(email, "@")
	if err != nil || parsed.Name != "" || parsed.Address != email || len(email) > 254 || !utf8.ValidString(email) ||
		strings.Count(email, "@") != 1 || !strings.Contains(domain, ".") && domain != "localhost" {
		return "", "", &FieldError{Field: "email", Message: "Please enter an e-mail address such as ada@example.org."}
	}
	return email, emailKey(email), nil
}

// emailKey returns "", which is no account's key, for text that PostgreSQL can't store.
func emailKey(email string) string {
	if !utf8.ValidString(email) || strings.ContainsRune(email, 0) {
		return ""
	}
	return cases.Fold().String(strings.TrimSpace(norm.NFKC.String(email)))
}
