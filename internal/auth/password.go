package auth

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// NewPassword is an e-mail and password that were found acceptable, with the password hashed, which takes a while.
// Create, AddPassword and ChangePassword store it.
type NewPassword struct{ email, key, hash string }

// NewAccount is a sign-up that was found acceptable. Create makes the account.
type NewAccount struct {
	name string
	NewPassword
}

// SignUp checks what somebody wants to sign up with; an empty name is made from the address. Whether the e-mail is
// free is known when the account is made. Errors: *FieldError, *LimitError, ErrBusy.
func (a *Accounts) SignUp(ctx context.Context, name, email, password, address string) (NewAccount, error) {
	email, key, err := parseEmail(email)
	if err != nil {
		return NewAccount{}, err
	}
	local, _, _ := strings.Cut(email, "@")
	if strings.TrimSpace(name) == "" {
		name = nameFrom(local)
	}
	if name, err = cleanName(name); err != nil {
		return NewAccount{}, err
	}
	if err := checkLength(password); err != nil {
		return NewAccount{}, err
	}
	if err := a.Allow(ctx, a.Limits.NewEmailNetwork.From(address)); err != nil {
		return NewAccount{}, err
	}
	hash, err := a.hash.make(ctx, password, name, email)
	return NewAccount{name, NewPassword{email, key, hash}}, err
}

// Create makes the account of a sign-up. Errors: ErrEmailTaken.
func (a *Accounts) Create(ctx context.Context, tx pgx.Tx, n NewAccount) (userID int64, err error) {
	err = tx.QueryRow(ctx, `INSERT INTO cairn.users (display_name) VALUES ($1) RETURNING id`, n.name).Scan(&userID)
	if err != nil {
		return 0, fmt.Errorf("auth: insert user: %w", err)
	}
	return userID, insertPassword(ctx, tx, userID, n.NewPassword)
}

// SignIn checks an e-mail and password. A wrong password and an unknown e-mail are the same error and take the same
// time. browser is the token of a browser that may have signed in before, or "". Errors: ErrCredentials, *LimitError,
// ErrBusy.
func (a *Accounts) SignIn(ctx context.Context, email, password, address, browser string) (Proof, error) {
	key := emailKey(email)
	proof := Proof{hash: a.hash.decoy}
	var known bool
	err := a.pool.QueryRow(ctx, `
		SELECT user_id, hash, EXISTS (SELECT FROM cairn.browsers b WHERE b.token_hash = $2 AND b.user_id = p.user_id)
		FROM cairn.passwords p WHERE email_key = $1`, key, digest(browser)).Scan(&proof.UserID, &proof.hash, &known)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return Proof{}, fmt.Errorf("auth: find password: %w", err)
	}
	// For the account last: tries that a network is not allowed any more must not lock the owner out. A known browser
	// has a limit of its own, which strangers can't use up.
	network := a.Limits.SignInNetwork.From(address)
	pair, account := a.Limits.SignInPair.From(address, key), a.Limits.SignInAccount.Of(key)
	counts, forgiven := []Count{pair, network, account}, []Count{pair, account}
	if known {
		own := a.Limits.SignInBrowser.Of(key, browser)
		counts, forgiven = []Count{own, network}, []Count{own}
	}
	if err := a.Allow(ctx, counts...); err != nil {
		return Proof{}, err
	}
	match, err := a.hash.matches(ctx, password, proof.hash)
	if err != nil {
		return Proof{}, err
	}
	if !match || proof.UserID == 0 {
		return Proof{}, ErrCredentials
	}
	return proof, a.Forgive(ctx, forgiven...)
}

// NewPassword checks what an account without a password is to get. Whether the e-mail is free is known when it is
// added. Errors: *FieldError, *LimitError, ErrBusy.
func (a *Accounts) NewPassword(
	ctx context.Context, userID int64, email, password, address string,
) (NewPassword, error) {
	email, key, err := parseEmail(email)
	if err != nil {
		return NewPassword{}, err
	}
	if err := checkLength(password); err != nil {
		return NewPassword{}, err
	}
	if err := a.Allow(ctx, a.Limits.NewEmailPerson.Of(userID), a.Limits.NewEmailNetwork.From(address)); err != nil {
		return NewPassword{}, err
	}
	hash, err := a.hash.make(ctx, password, email)
	return NewPassword{email, key, hash}, err
}

// AddPassword gives an account without a password this sign-in method. Errors: ErrEmailTaken, ErrNotFound.
func (a *Accounts) AddPassword(ctx context.Context, tx pgx.Tx, userID int64, n NewPassword) error {
	if err := lockMethods(ctx, tx, userID); err != nil {
		return err
	}
	return insertPassword(ctx, tx, userID, n)
}

// PasswordChange is a new password for an account whose present one was proven.
type PasswordChange struct {
	proof Proof
	hash  string
}

// CheckPasswordChange compares the present password, and checks the new one. Errors: ErrCredentials, *FieldError,
// ErrBusy. The caller limits how often (Limits.PasswordSession).
func (a *Accounts) CheckPasswordChange(
	ctx context.Context, userID int64, current, password string,
) (PasswordChange, error) {
	if err := checkLength(password); err != nil {
		return PasswordChange{}, err
	}
	proof, err := a.Confirm(ctx, userID, current)
	if err != nil {
		return PasswordChange{}, err
	}
	hash, err := a.hash.make(ctx, password, proof.email)
	return PasswordChange{proof, hash}, err
}

// ChangePassword replaces the password, if it still is the one that was proven. Errors: ErrCredentials.
func (a *Accounts) ChangePassword(ctx context.Context, tx pgx.Tx, c PasswordChange) error {
	if err := lockMethods(ctx, tx, c.proof.UserID); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, `
		UPDATE cairn.passwords SET hash = $3, changed_at = now() WHERE user_id = $1 AND hash = $2`,
		c.proof.UserID, c.proof.hash, c.hash)
	if err != nil {
		return fmt.Errorf("auth: change password of user %d: %w", c.proof.UserID, err)
	}
	if tag.RowsAffected() == 0 { // changed by another request since it was compared
		return ErrCredentials
	}
	return nil
}

// RemovePassword removes the sign-in method by password. Errors: ErrLastWay, ErrNotFound.
func (a *Accounts) RemovePassword(ctx context.Context, tx pgx.Tx, userID int64) error {
	if err := lockMethods(ctx, tx, userID); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, `DELETE FROM cairn.passwords WHERE user_id = $1`, userID)
	if err != nil {
		return fmt.Errorf("auth: remove password of user %d: %w", userID, err)
	}
	if tag.RowsAffected() == 0 {
		return ErrNotFound
	}
	return someMethodLeft(ctx, tx, userID)
}

// insertPassword leaves a taken address to ON CONFLICT: a unique violation would write it into PostgreSQL's log.
func insertPassword(ctx context.Context, tx pgx.Tx, userID int64, n NewPassword) error {
	tag, err := tx.Exec(ctx, `
		INSERT INTO cairn.passwords (user_id, email, email_key, hash) VALUES ($1, $2, $3, $4)
		ON CONFLICT (email_key) DO NOTHING`, userID, n.email, n.key, n.hash)
	if err != nil {
		return fmt.Errorf("auth: insert password of user %d: %w", userID, err)
	}
	if tag.RowsAffected() == 0 {
		return ErrEmailTaken
	}
	return nil
}

// parseEmail returns an address as it is kept and the key that makes it unique. It is normalised before it is looked
// at, so that no look-alike of "@" slips through.
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

// emailKey is "" for what no address can be, and the database would refuse: it is nobody's.
func emailKey(email string) string {
	if !utf8.ValidString(email) || strings.ContainsRune(email, 0) {
		return ""
	}
	return cases.Fold().String(strings.TrimSpace(norm.NFKC.String(email)))
}
