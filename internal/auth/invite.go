package auth

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"cairn/internal/mail"
)

// Admission says who can create an account. It limits neither imports nor people who have an account already.
type Admission string

// Admissions. Invited people get in with all of them.
const (
	Open         Admission = "open"
	ByInvitation Admission = "invite"
	Closed       Admission = "closed"
)

// Admission returns who can create an account.
func (a *Accounts) Admission() Admission { return a.admission }

// Admits checks, for a page, whether a visitor may have an account. invitation is the zero Link if there is none.
// Errors: ErrUninvited.
func (a *Accounts) Admits(invitation Link) error {
	if a.admission != Open && invitation.ID == 0 {
		return ErrUninvited
	}
	return nil
}

// admit checks, in the transaction that makes an account, that it may be made. The invitation is used up. Errors:
// ErrUninvited.
func (a *Accounts) admit(ctx context.Context, tx pgx.Tx, invitation Link) error {
	if err := a.Admits(invitation); err != nil || invitation.ID == 0 {
		return err
	}
	// An invitation may be two links, of which one was mailed. The first takes both.
	if err := lockAddresses(ctx, tx, invitation.key); err != nil {
		return err
	}
	var taken bool
	err := tx.QueryRow(ctx, `
		WITH taken AS (
			DELETE FROM cairn.links WHERE purpose = 'invite' AND email_key = $1 RETURNING id, expires_at)
		SELECT EXISTS (SELECT FROM taken WHERE id = $2 AND expires_at > now())`,
		invitation.key, invitation.ID).Scan(&taken)
	switch {
	case err != nil:
		return fmt.Errorf("auth: take invitation %d: %w", invitation.ID, err)
	case !taken:
		return ErrUninvited
	}
	return nil
}

// giveEmail gives the address of an invitation to its account, which has none, unless somebody has it by now. Only the
// mailed link proves it.
func giveEmail(ctx context.Context, tx pgx.Tx, userID int64, invitation Link) error {
	if invitation.ID == 0 {
		return nil
	}
	if err := insertEmail(ctx, tx, userID, invitation.Email, invitation.key); err != nil {
		return err
	}
	return proveInvited(ctx, tx, userID, invitation)
}

func proveInvited(ctx context.Context, tx pgx.Tx, userID int64, invitation Link) error {
	if invitation.ID == 0 || invitation.details.By == byOperator {
		return nil
	}
	return verifyByLink(ctx, tx, userID)
}

// Invite makes an invitation for an address, replacing an earlier one. It returns the token of the link that the
// operator hands over, and whether a second link was mailed. Errors: *FieldError, ErrEmailTaken.
func (a *Accounts) Invite(ctx context.Context, email string) (token string, mailed bool, err error) {
	email, key, err := parseEmail(email)
	if err != nil {
		return "", false, err
	}
	if _, err := a.Find(ctx, email); err == nil {
		return "", false, ErrEmailTaken
	} else if !errors.Is(err, ErrNotFound) {
		return "", false, err
	}
	err = pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		if err := lockAddresses(ctx, tx, key); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `DELETE FROM cairn.links WHERE purpose = 'invite' AND email_key = $1`, key)
		if err != nil {
			return fmt.Errorf("auth: end an invitation: %w", err)
		}
		l := Link{Purpose: ToInvite, Email: email, key: key, details: linkDetails{By: byOperator}}
		if _, token, err = a.makeLink(ctx, tx, l); err != nil {
			return err
		}
		return a.mailInvitation(ctx, tx, Link{Purpose: ToInvite, Email: email, key: key})
	})
	return token, a.MailOn(), err
}

func (a *Accounts) mailInvitation(ctx context.Context, tx pgx.Tx, l Link) error {
	if a.mail == nil {
		return nil
	}
	id, _, err := a.makeLink(ctx, tx, l)
	if err != nil {
		return err
	}
	return a.mail.Put(ctx, tx, mail.Draft{To: l.Email, Kind: mail.Invite, LinkID: id})
}
