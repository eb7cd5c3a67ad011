package auth

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// MailOn reports whether mail is sent. Then a sign-up makes an account once its address is proven.
func (a *Accounts) MailOn() bool { return a.mail != nil }

// RequestSignUp asks for a link that makes the account of a sign-up. The same happens for an address that has an
// account, whose owner is told.
func (a *Accounts) RequestSignUp(ctx context.Context, n NewAccount, browser string) error {
	return a.requestLink(ctx, Link{
		Purpose: ToSignUp, Email: n.email, key: n.key, details: linkDetails{Name: n.name, Hash: n.hash},
	}, browser)
}

// CheckSignUp checks who has opened the link of a sign-up. In another browser than the one that signed up, it asks for
// the password. Otherwise a stranger could sign up with your address, and you would prove it for them. Errors:
// ErrCredentials, *LimitError, ErrBusy.
func (a *Accounts) CheckSignUp(ctx context.Context, l Link, password, address, browser string) error {
	if l.RequestedIn(browser) {
		return nil
	}
	counts := []Count{a.Limits.ConfirmLink.Of(l.ID), a.Limits.ConfirmNetwork.From(address)}
	if err := a.Allow(ctx, counts...); err != nil {
		return err
	}
	match, err := a.hash.matches(ctx, password, l.details.Hash)
	if err == nil && !match {
		err = ErrCredentials
	}
	return err
}

// CreateByLink makes the account of a sign-up whose link was checked. Its address is verified. Errors: ErrLink,
// ErrEmailTaken, ErrUninvited.
func (a *Accounts) CreateByLink(ctx context.Context, tx pgx.Tx, l Link) (userID int64, err error) {
	if err := lockAddresses(ctx, tx, l.key); err != nil {
		return 0, err
	}
	if err := takeLink(ctx, tx, l); err != nil {
		return 0, err
	}
	n := NewAccount{name: l.details.Name, NewPassword: NewPassword{email: l.Email, key: l.key, hash: l.details.Hash}}
	if userID, err = a.Create(ctx, tx, n); err != nil {
		return 0, err
	}
	if err := verifyByLink(ctx, tx, userID); err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, `DELETE FROM cairn.links WHERE email_key = $1 AND purpose = 'signup'`, l.key)
	if err != nil {
		return 0, fmt.Errorf("auth: end other sign-ups of user %d: %w", userID, err)
	}
	return userID, nil
}
