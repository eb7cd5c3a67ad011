package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/internal/mail"
)

// exportPage is how many records are read at once for a person who downloads their data.
const exportPage = 200

// ExportedAccount is an account in the archive that its owner downloads, as are the following types.
type ExportedAccount struct {
	ID         int64     `json:"id"`
	Name       string    `json:"name"`
	Email      string    `json:"email"`
	Confirmed  bool      `json:"email_confirmed"`
	PictureURL string    `json:"picture_url"`
	TimeZone   string    `json:"time_zone"`
	Units      string    `json:"units"`
	Unwanted   []string  `json:"unwanted_messages"`
	CreatedAt  time.Time `json:"created_at"`
	// TwoStep is nil for an account with one factor.
	TwoStep *ExportedTwoStep `json:"two_step_verification"`
}

// ExportedTwoStep is the second factor of an account, without what proves it.
type ExportedTwoStep struct {
	AppSince      *time.Time `json:"app_since"` // null: there is no app
	RecoveryCodes int        `json:"recovery_codes_left"`
	WrongCodes    int        `json:"wrong_codes_in_a_row"`
}

// ExportedMethod is a sign-in method: the password, or an account at a provider.
type ExportedMethod struct {
	Method    string    `json:"method"`
	Email     string    `json:"email,omitempty"`
	AccountID string    `json:"account_id,omitempty"` // the provider's
	SignsIn   bool      `json:"signs_in"`
	SkipsCode bool      `json:"skips_code"` // it signs in without a code
	Since     time.Time `json:"since"`      // of a password: when it was last changed
}

// ExportedBrowser is a browser that has signed in before.
type ExportedBrowser struct {
	LastSignInAt time.Time  `json:"last_sign_in_at"`
	TrustedUntil *time.Time `json:"trusted_until"` // it signs in without a code; null: it doesn't
	UserAgent    string     `json:"user_agent"`    // when it was trusted
}

// ExportAccount returns a user for their archive. Errors: ErrNotFound.
func (a *Accounts) ExportAccount(ctx context.Context, userID int64) (u ExportedAccount, err error) {
	err = a.pool.QueryRow(ctx, `
		SELECT u.id, u.display_name, COALESCE(e.email, ''), e.verified_at IS NOT NULL, COALESCE(u.avatar_url, ''),
		       COALESCE(u.time_zone, ''), COALESCE(u.units, ''), u.unwanted_mail, u.created_at
		FROM cairn.users u LEFT JOIN cairn.emails e ON e.user_id = u.id WHERE u.id = $1`, userID).
		Scan(&u.ID, &u.Name, &u.Email, &u.Confirmed, &u.PictureURL, &u.TimeZone, &u.Units, &u.Unwanted, &u.CreatedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return ExportedAccount{}, ErrNotFound
	}
	if err != nil {
		return ExportedAccount{}, fmt.Errorf("auth: export user %d: %w", userID, err)
	}
	u.CreatedAt = u.CreatedAt.UTC()
	u.TwoStep, err = a.exportTwoStep(ctx, userID)
	return u, err
}

func (a *Accounts) exportTwoStep(ctx context.Context, userID int64) (*ExportedTwoStep, error) {
	var two ExportedTwoStep
	err := a.pool.QueryRow(ctx, `
		SELECT app_since, (SELECT count(*) FROM cairn.recovery_codes WHERE user_id = $1), wrong_codes
		FROM cairn.second_factors WHERE user_id = $1`, userID).Scan(&two.AppSince, &two.RecoveryCodes, &two.WrongCodes)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("auth: export the second factor of user %d: %w", userID, err)
	}
	return &two, nil
}

// ExportMethods returns a page of a user's sign-in methods, confirmed or not, and the key of the next one; 0: none. The
// password comes first.
func (a *Accounts) ExportMethods(
	ctx context.Context, userID, after int64,
) (methods []ExportedMethod, next int64, err error) {
	rows, _ := a.pool.Query(ctx, `
		SELECT 0, 'password', email, '', true, false, changed_at
		FROM cairn.passwords WHERE user_id = $1 AND $2::bigint = 0
		UNION ALL (
			SELECT id, provider, '', subject, signs_in, skips_code, created_at FROM cairn.identities
			WHERE user_id = $1 AND id > $2 ORDER BY id LIMIT $3)`,
		userID, after, exportPage) // ForEachRow returns its error
	var id int64
	var m ExportedMethod
	fields := []any{&id, &m.Method, &m.Email, &m.AccountID, &m.SignsIn, &m.SkipsCode, &m.Since}
	_, err = pgx.ForEachRow(rows, fields, func() error {
		m.Since = m.Since.UTC()
		methods = append(methods, m)
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("auth: export sign-in methods of user %d: %w", userID, err)
	}
	if len(methods) >= exportPage {
		next = id
	}
	return methods, next, nil
}

// ExportBrowsers returns the known browsers of an account, which are few (maxBrowsers), so there is no next page.
func (a *Accounts) ExportBrowsers(
	ctx context.Context, userID, _ int64,
) (browsers []ExportedBrowser, next int64, err error) {
	rows, _ := a.pool.Query(ctx, `
		SELECT last_used, trusted_until, user_agent FROM cairn.browsers
		WHERE user_id = $1 ORDER BY last_used`, userID) // ForEachRow returns its error
	var b ExportedBrowser
	_, err = pgx.ForEachRow(rows, []any{&b.LastSignInAt, &b.TrustedUntil, &b.UserAgent}, func() error {
		one := b
		one.LastSignInAt = b.LastSignInAt.UTC()
		browsers = append(browsers, one)
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("auth: export browsers of user %d: %w", userID, err)
	}
	return browsers, 0, nil
}

// ExportedEvent is something that happened to an account.
type ExportedEvent struct {
	At    time.Time  `json:"at"`
	Kind  mail.Kind  `json:"kind"`
	Facts mail.Facts `json:"facts"`
}

// ExportEvents returns what happened to an account, which is little (maxEvents), so there is no next page.
func (a *Accounts) ExportEvents(ctx context.Context, userID, _ int64) (list []ExportedEvent, next int64, err error) {
	events, err := a.Events(ctx, userID, maxEvents)
	for _, e := range events {
		list = append(list, ExportedEvent{e.At.UTC(), e.Kind, e.Facts})
	}
	return list, 0, err
}

// ExportedPasskey is a passkey. What proves that somebody has it is kept by its owner's device alone.
type ExportedPasskey struct {
	Name     string     `json:"name"`
	Since    time.Time  `json:"since"`
	LastUsed *time.Time `json:"last_used_at"` // null: never
}

// ExportPasskeys returns the passkeys of an account, which are few, so there is no next page.
func (a *Accounts) ExportPasskeys(
	ctx context.Context, userID, _ int64,
) (list []ExportedPasskey, next int64, err error) {
	passkeys, err := a.passkeysOf(ctx, userID)
	for _, k := range passkeys {
		one := ExportedPasskey{Name: k.Name, Since: k.Since.UTC()}
		if k.Used != nil {
			used := k.Used.UTC()
			one.LastUsed = &used
		}
		list = append(list, one)
	}
	return list, 0, err
}
