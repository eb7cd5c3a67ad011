package auth

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// SignUp makes an account with an e-mail and a password; an empty name is made from the address. Errors: *FieldError,
// ErrEmailTaken, *LimitError, ErrBusy.
func (a *Accounts) SignUp(ctx context.Context, name, email, password, address string) (userID int64, err error) {
	email, key, err := parseEmail(email)
	if err != nil {
		return 0, err
	}
	local, _, _ := strings.Cut(email, "@")
	if strings.TrimSpace(name) == "" {
		name = nameFrom(local)
	}
	if name, err = cleanName(name); err != nil {
		return 0, err
	}
	if err := checkLength(password); err != nil {
		return 0, err
	}
	if err := a.Allow(ctx, a.Limits.NewEmailNetwork.From(address)); err != nil {
		return 0, err
	}
	hash, err := a.hash.make(ctx, password, name, email)
	if err != nil {
		return 0, err
	}
	err = pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `INSERT INTO cairn.users (display_name) VALUES ($1) RETURNING id`, name).Scan(&userID); err != nil {
			return fmt.Errorf("auth: insert user: %w", err)
		}
		return insertPassword(ctx, tx, userID, email, key, hash)
	})
	return userID, err
}

// SignIn returns the user an e-mail and password belong to. A wrong password and an unknown e-mail are the same error
// and take the same time. Errors: ErrCredentials, *LimitError, ErrBusy.
func (a *Accounts) SignIn(ctx context.Context, email, password, address string) (int64, error) {
	key := emailKey(email)
	pair, account := a.Limits.SignInPair.From(address, key), a.Limits.SignInAccount.Of(key)
	// For the account last: tries that a network is not allowed any more must not lock the owner out.
	if err := a.Allow(ctx, pair, a.Limits.SignInNetwork.From(address), account); err != nil {
		return 0, err
	}
	var userID int64
	hash := a.hash.decoy
	err := a.pool.QueryRow(ctx, `SELECT user_id, hash FROM cairn.passwords WHERE email_key = $1`, key).Scan(&userID, &hash)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("auth: find password: %w", err)
	}
	match, err := a.hash.matches(ctx, password, hash)
	if err != nil {
		return 0, err
	}
	if !match || userID == 0 {
		return 0, ErrCredentials
	}
	return userID, a.Forgive(ctx, pair, account)
}

// AddPassword gives an account without a password this way in. Errors: *FieldError, ErrEmailTaken, *LimitError, ErrBusy.
func (a *Accounts) AddPassword(ctx context.Context, userID int64, email, password, address string) error {
	email, key, err := parseEmail(email)
	if err != nil {
		return err
	}
	if err := checkLength(password); err != nil {
		return err
	}
	if err := a.Allow(ctx, a.Limits.NewEmailPerson.Of(userID), a.Limits.NewEmailNetwork.From(address)); err != nil {
		return err
	}
	hash, err := a.hash.make(ctx, password, email)
	if err != nil {
		return err
	}
	return insertPassword(ctx, a.pool, userID, email, key, hash)
}

// ChangePassword replaces a password that current matches. endOthers runs in the same transaction, to end the sessions
// that the old password began. Errors: ErrCredentials, *FieldError, ErrNotFound, ErrBusy. The caller limits how often
// (Limits.PasswordSession).
func (a *Accounts) ChangePassword(ctx context.Context, userID int64, current, password string, endOthers func(tx pgx.Tx) error) error {
	var email, old string
	err := a.pool.QueryRow(ctx, `SELECT email, hash FROM cairn.passwords WHERE user_id = $1`, userID).Scan(&email, &old)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("auth: find password of user %d: %w", userID, err)
	}
	if err := checkLength(password); err != nil {
		return err
	}
	match, err := a.hash.matches(ctx, current, old)
	if err != nil {
		return err
	}
	if !match {
		return ErrCredentials
	}
	hash, err := a.hash.make(ctx, password, email)
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE cairn.passwords SET hash = $3, changed_at = now() WHERE user_id = $1 AND hash = $2`, userID, old, hash)
		if err != nil {
			return fmt.Errorf("auth: change password of user %d: %w", userID, err)
		}
		if tag.RowsAffected() == 0 { // changed by another request since it was compared
			return ErrCredentials
		}
		return endOthers(tx)
	})
}

// RemovePassword takes the way in by password away. Errors: ErrLastWay, ErrNotFound.
func (a *Accounts) RemovePassword(ctx context.Context, userID int64) error {
	return a.removeWay(ctx, userID, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `DELETE FROM cairn.passwords WHERE user_id = $1`, userID)
		if err != nil {
			return fmt.Errorf("auth: remove password of user %d: %w", userID, err)
		}
		if tag.RowsAffected() == 0 {
			return ErrNotFound
		}
		return nil
	})
}

func insertPassword(ctx context.Context, db DB, userID int64, email, key, hash string) error {
	_, err := db.Exec(ctx, `INSERT INTO cairn.passwords (user_id, email, email_key, hash) VALUES ($1, $2, $3, $4)`, userID, email, key, hash)
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "23505" {
		return ErrEmailTaken
	}
	if err != nil {
		return fmt.Errorf("auth: insert password of user %d: %w", userID, err)
	}
	return nil
}

// parseEmail returns an address as it is kept and the key that makes it unique. It is normalised before it is looked at,
// so that no look-alike of "@" slips through.
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

func emailKey(email string) string {
	return cases.Fold().String(strings.TrimSpace(norm.NFKC.String(email)))
}
