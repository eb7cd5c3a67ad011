package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/internal/mail"
	"cairn/internal/sealed"
	"cairn/internal/totp"
)

// An account has a second factor once it has a passkey or an authenticator app. From then on re-authentication takes
// two factors: a passkey, or a code after a password or a provider's account. With an app, each sign-in by a password
// or a provider takes a code. Recovery codes come with the first passkey or app, and go with the last.

// SecondFactor is what an account has beside its sign-in methods. The zero value is an account with one factor.
type SecondFactor struct {
	On       bool       // re-authentication takes two factors
	AppSince *time.Time // when the authenticator app was added; nil: there is none
	Codes    int        // recovery codes that are left
}

// HasApp reports whether a code of an authenticator app is asked for after a password or a provider's account.
func (f SecondFactor) HasApp() bool { return f.AppSince != nil }

// appData is the associated data of the sealed secret of an app.
func appData(userID int64) string { return fmt.Sprintf("cairn.second_factors/app/%d", userID) }

// SealedColumns are the columns with sealed secrets. Their associated data is that of appData.
func SealedColumns() []sealed.Column {
	return []sealed.Column{{Table: "cairn.second_factors", Value: "app", ID: "user_id",
		Data: `'cairn.second_factors/app/' || user_id`}}
}

// setUpData is the associated data of a secret in a form, which is not stored yet.
func setUpData(userID int64) string { return fmt.Sprintf("an authenticator app for user %d", userID) }

// SetUpApp makes the secret of an authenticator app, and what stands for it in the form that takes the app's first
// code.
func (a *Accounts) SetUpApp(userID int64) (secret totp.Secret, sealed string) {
	secret = totp.New()
	return secret, base64.RawURLEncoding.EncodeToString(a.sealer.Seal([]byte(secret), setUpData(userID)))
}

// SecretOf returns the secret of SetUpApp. Errors: ErrNotFound.
func (a *Accounts) SecretOf(userID int64, sealed string) (totp.Secret, error) {
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		return "", ErrNotFound
	}
	secret, err := a.sealer.Open(raw, setUpData(userID))
	if err != nil {
		return "", ErrNotFound
	}
	return totp.Secret(secret), nil
}

// NewApp is an authenticator app that has shown a right code.
type NewApp struct {
	TwoFactors bool // the session that adds it has proven two

	secret totp.Secret
	step   int64 // of the code
	codes  RecoveryCodes
}

// errWrongCode is for a form that sets up an app.
var errWrongCode = &FieldError{Field: "code", Message: "This code isn’t right. " +
	"If your app shows another one by now, enter that. If not, check your phone’s clock."}

// CheckNewApp checks the first code of an app. Errors: ErrNotFound, *FieldError, *LimitError, ErrBusy.
func (a *Accounts) CheckNewApp(ctx context.Context, userID int64, sealed, code, address string) (NewApp, error) {
	secret, err := a.SecretOf(userID, sealed)
	if err != nil {
		return NewApp{}, err
	}
	counts := []Count{a.Limits.CodeBrowser.Of(userID), a.Limits.CodeNetwork.From(address)}
	if err := a.Allow(ctx, counts...); err != nil {
		return NewApp{}, err
	}
	var now time.Time
	if err := a.pool.QueryRow(ctx, `SELECT now()`).Scan(&now); err != nil {
		return NewApp{}, fmt.Errorf("auth: read the clock: %w", err)
	}
	step, ok := secret.Step(plainCode(code), now.Add(a.codeClock()))
	if !ok {
		return NewApp{}, errWrongCode
	}
	codes, err := a.firstCodes(ctx, userID)
	return NewApp{secret: secret, step: step, codes: codes}, err
}

// AddApp adds an authenticator app to an account, instead of one that it has. It returns the recovery codes if they
// come with it. Errors: ErrNotFound, ErrFactor.
func (a *Accounts) AddApp(ctx context.Context, tx pgx.Tx, userID int64, n NewApp) (codes []string, err error) {
	if err := lockMethods(ctx, tx, userID); err != nil {
		return nil, err
	}
	if err := requireFactors(ctx, tx, userID, n.TwoFactors); err != nil {
		return nil, err
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO cairn.second_factors (user_id, app, app_since, last_step) VALUES ($1, $2, now(), $3)
		ON CONFLICT (user_id) DO UPDATE
		SET app = EXCLUDED.app, app_since = now(), last_step = EXCLUDED.last_step, wrong_codes = 0`,
		userID, a.sealer.Seal([]byte(n.secret), appData(userID)), n.step)
	if err != nil {
		return nil, fmt.Errorf("auth: add an app for user %d: %w", userID, err)
	}
	if codes, err = giveCodes(ctx, tx, userID, n.codes); err != nil {
		return nil, err
	}
	if err := a.distrust(ctx, tx, userID); err != nil {
		return nil, err
	}
	return codes, a.Notify(ctx, tx, userID, mail.AppAdded, nil)
}

// requireFactors checks, after lockMethods, that an account has no second factor yet if a session that has proven one
// changes that: it may have got one since the request began. Errors: ErrFactor.
func requireFactors(ctx context.Context, tx pgx.Tx, userID int64, two bool) error {
	var on bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM cairn.second_factors WHERE user_id = $1)`, userID).Scan(&on)
	switch {
	case err != nil:
		return fmt.Errorf("auth: look for the second factor of user %d: %w", userID, err)
	case on && !two:
		return ErrFactor
	}
	return nil
}

// RemoveApp removes the authenticator app of an account, with the recovery codes if there is no passkey. After another
// app, all of the account's providers take a code again. Errors: ErrNotFound.
func (a *Accounts) RemoveApp(ctx context.Context, tx pgx.Tx, userID int64) error {
	if err := lockMethods(ctx, tx, userID); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `UPDATE cairn.identities SET skips_code = false WHERE user_id = $1 AND skips_code`, userID)
	if err != nil {
		return fmt.Errorf("auth: ask user %d for codes again: %w", userID, err)
	}
	tag, err := tx.Exec(ctx, `
		UPDATE cairn.second_factors SET app = NULL, app_since = NULL
		WHERE user_id = $1 AND app IS NOT NULL`, userID)
	if err != nil {
		return fmt.Errorf("auth: remove the app of user %d: %w", userID, err)
	}
	if tag.RowsAffected() == 0 {
		return ErrNotFound
	}
	if err := dropFactor(ctx, tx, userID); err != nil {
		return err
	}
	return a.Notify(ctx, tx, userID, mail.AppRemoved, nil)
}

// HasApp reports, in a transaction that lets a user in without asking for a code, whether the account asks for one.
func HasApp(ctx context.Context, tx pgx.Tx, userID int64) (has bool, err error) {
	err = tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM cairn.second_factors WHERE user_id = $1 AND app IS NOT NULL)`, userID).Scan(&has)
	if err != nil {
		return false, fmt.Errorf("auth: look for the app of user %d: %w", userID, err)
	}
	return has, nil
}

// dropFactor ends the second factor, and the recovery codes, of an account that has neither an app nor a passkey.
func dropFactor(ctx context.Context, tx pgx.Tx, userID int64) error {
	_, err := tx.Exec(ctx, `
		DELETE FROM cairn.second_factors f WHERE user_id = $1 AND app IS NULL
		AND NOT EXISTS (SELECT FROM cairn.passkeys p WHERE p.user_id = f.user_id)`, userID)
	if err != nil {
		return fmt.Errorf("auth: drop the second factor of user %d: %w", userID, err)
	}
	return nil
}

// SkipCode sets whether a provider's account signs in without a code, and returns the provider's key. Errors:
// ErrNotFound.
func (a *Accounts) SkipCode(
	ctx context.Context, tx pgx.Tx, userID, identityID int64, skip bool,
) (provider string, err error) {
	if err := lockMethods(ctx, tx, userID); err != nil {
		return "", err
	}
	err = tx.QueryRow(ctx, `
		UPDATE cairn.identities SET skips_code = $3 WHERE id = $2 AND user_id = $1 AND signs_in
		RETURNING provider`, userID, identityID, skip).Scan(&provider)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", ErrNotFound
	}
	if err != nil {
		return "", fmt.Errorf("auth: say whether identity %d skips the code: %w", identityID, err)
	}
	kind := mail.CodeAsked
	if skip {
		kind = mail.CodeSkipped
	}
	return provider, a.Notify(ctx, tx, userID, kind, mail.Facts{"provider": provider})
}
