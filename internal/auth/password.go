package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"cairn/internal/mail"
)

// NewPassword is an acceptable e-mail and the hash of an acceptable password. Create and AddPassword store it. It is
// made outside their transactions, because hashing takes a while.
type NewPassword struct{ email, key, hash string }

// NewAccount is an acceptable sign-up. Create makes the account.
type NewAccount struct {
	name       string
	invitation Link // zero: none
	NewPassword
}

// By is the same account for the owner of an invitation, whose address it has to have.
func (n NewAccount) By(invitation Link) NewAccount {
	n.invitation = invitation
	return n
}

// SignUp checks a sign-up; an empty name is made from the e-mail. Whether the e-mail is free is known when the account
// is created. Errors: *FieldError, *LimitError, ErrBusy.
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
	return NewAccount{name, Link{}, NewPassword{email, key, hash}}, err
}

// Create creates the account of a sign-up. Errors: ErrEmailTaken, ErrUninvited.
func (a *Accounts) Create(ctx context.Context, tx pgx.Tx, n NewAccount) (userID int64, err error) {
	if n.invitation.ID != 0 && n.invitation.key != n.key {
		return 0, ErrUninvited
	}
	if err := a.admit(ctx, tx, n.invitation); err != nil {
		return 0, err
	}
	err = tx.QueryRow(ctx, `INSERT INTO cairn.users (display_name) VALUES ($1) RETURNING id`, n.name).Scan(&userID)
	if err != nil {
		return 0, fmt.Errorf("auth: insert user: %w", err)
	}
	if err := insertPassword(ctx, tx, userID, n.NewPassword); err != nil {
		return 0, err
	}
	return userID, proveInvited(ctx, tx, userID, n.invitation)
}

// SignIn checks an e-mail and password. A wrong password and an unknown e-mail give the same error and take the same
// time. browser is the token of a browser that may have signed in before, or "". Errors: ErrCredentials, *LimitError,
// ErrBusy.
func (a *Accounts) SignIn(ctx context.Context, email, password, address, browser string) (Proof, error) {
	key := emailKey(email)
	proof := Proof{hash: a.hash.decoy}
	var known bool
	err := a.pool.QueryRow(ctx, `
		SELECT e.user_id, p.hash,
		       EXISTS (SELECT FROM cairn.browsers b WHERE b.token_hash = $2 AND b.user_id = e.user_id)
		FROM cairn.emails e JOIN cairn.passwords p USING (user_id) WHERE e.email_key = $1`,
		key, digest(browser)).Scan(&proof.UserID, &proof.hash, &known)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return Proof{}, fmt.Errorf("auth: find password: %w", err)
	}
	// The account's limit comes last: attempts that exceed a network's limit must not lock the owner out. A known
	// browser has its own limit, which strangers can't use up.
	network := a.Limits.SignInNetwork.From(address)
	pair, account := a.Limits.SignInPair.From(address, key), a.Limits.SignInAccount.Of(key)
	counts, ofAccount := []Count{pair, network, account}, []Count{pair, account}
	if known {
		own := a.Limits.SignInBrowser.Of(key, browser)
		counts, ofAccount = []Count{own, network}, []Count{own}
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
	return proof, a.Reset(ctx, ofAccount...)
}

// NewPassword checks an e-mail and password for an account without one. Whether the e-mail is free is known when
// AddPassword stores them. Errors: *FieldError, *LimitError, ErrBusy.
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

// errHasPassword is for a form that was sent twice, or in two tabs.
var errHasPassword = &FieldError{Field: "current",
	Message: "You have a password already. To change it, please enter it here."}

// AddPassword adds the sign-in method to an account without a password. Errors: ErrEmailTaken, ErrNotFound; a
// *FieldError if it has one.
func (a *Accounts) AddPassword(ctx context.Context, tx pgx.Tx, userID int64, n NewPassword) error {
	if err := lockMethods(ctx, tx, userID); err != nil {
		return err
	}
	var has bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM cairn.passwords WHERE user_id = $1)`, userID).Scan(&has)
	if err != nil {
		return fmt.Errorf("auth: look for the password of user %d: %w", userID, err)
	}
	if has {
		return errHasPassword
	}
	if err := insertPassword(ctx, tx, userID, n); err != nil {
		return err
	}
	if err := a.distrust(ctx, tx, userID); err != nil {
		return err
	}
	return a.Notify(ctx, tx, userID, mail.PasswordAdded, nil)
}

// PasswordChange is a new password for an account whose current one was checked.
type PasswordChange struct {
	proof Proof
	hash  string
}

// CheckPasswordChange compares the current password and checks the new one. Errors: ErrCredentials, *FieldError,
// ErrBusy. The caller applies the rate limit (Limits.PasswordSession).
func (a *Accounts) CheckPasswordChange(
	ctx context.Context, userID int64, current, password string,
) (PasswordChange, error) {
	if err := checkLength(password); err != nil {
		return PasswordChange{}, err
	}
	proof, err := a.CheckPassword(ctx, userID, current)
	if err != nil {
		return PasswordChange{}, err
	}
	hash, err := a.hash.make(ctx, password, proof.email)
	return PasswordChange{proof, hash}, err
}

// ChangePassword replaces the password unless it was changed since it was compared. Errors: ErrCredentials.
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
	if tag.RowsAffected() == 0 {
		return ErrCredentials
	}
	return a.Notify(ctx, tx, c.proof.UserID, mail.PasswordChanged, nil)
}

// RemovePassword removes the password as a sign-in method, and an address that is not verified with it: that would only
// keep its owner from signing up. Errors: ErrLastMethod, ErrNotFound.
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
	_, err = tx.Exec(ctx, `DELETE FROM cairn.emails WHERE user_id = $1 AND verified_at IS NULL`, userID)
	if err != nil {
		return fmt.Errorf("auth: remove the address of user %d: %w", userID, err)
	}
	if err := a.requireMethod(ctx, tx, userID); err != nil {
		return err
	}
	return a.Notify(ctx, tx, userID, mail.PasswordRemoved, nil)
}

// insertPassword adds the address, too, unless it is the account's already. Errors: ErrEmailTaken.
func insertPassword(ctx context.Context, tx pgx.Tx, userID int64, n NewPassword) error {
	if err := insertEmail(ctx, tx, userID, n.email, n.key); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, `
		INSERT INTO cairn.passwords (user_id, email, email_key, hash)
		SELECT user_id, email, email_key, $3 FROM cairn.emails WHERE user_id = $1 AND email_key = $2
		ON CONFLICT (email_key) DO NOTHING`, userID, n.key, n.hash)
	if err != nil {
		return fmt.Errorf("auth: insert password of user %d: %w", userID, err)
	}
	if tag.RowsAffected() == 0 {
		return ErrEmailTaken
	}
	return nil
}
