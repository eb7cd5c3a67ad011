package auth

import (
	"context"
	"fmt"
	"net/mail"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

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

// parseEmail returns an address as it is stored, and the key that makes it unique. It normalises before it parses, so
// that no look-alike of "@" slips through.
func parseEmail(input string) (email, key string, err error) {
	email = strings.TrimSpace(norm.NFKC.String(input))
	parsed, err := mail.ParseAddress(email)
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
