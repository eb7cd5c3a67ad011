package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/internal/mail"
	"cairn/internal/totp"
)

// A code is the second factor of somebody who has proven a password or a provider's account: six digits of an
// authenticator app, or a recovery code. Each is good once.

// Kinds of errors about codes.
var (
	ErrCode    = errors.New("auth: the code is wrong, or was used before")
	ErrPending = errors.New("auth: the sign-in that waits for a code is too old, or is no longer good")
	// ErrNeedsCode refuses a sign-in that can't show a code to an account that asks for one.
	ErrNeedsCode = errors.New("auth: the account asks for a code, which this sign-in can't show")
)

const (
	pendingLife = 10 * time.Minute // between a first factor and its code
	// After tellAfter wrong codes in a row the owner of the account is told, and again at each multiple of
	// tellEvery.
	tellAfter, tellEvery = 5, 50
)

// Pending is a sign-in that has proven one factor and waits for a code. The browser keeps it, sealed.
type Pending struct {
	Proof
	Method     string // as in session.Session
	Persistent bool
	at         time.Time
}

// NeedsCode reports whether a sign-in has to show a code. With an app it does, unless the account's owner trusts the
// browser, or lets the provider's account sign in without a code. again says that somebody who is signed in signs in
// again, to confirm something: then every account with a second factor asks for a code. p notes the time.
func (a *Accounts) NeedsCode(ctx context.Context, tx pgx.Tx, p *Pending, browser string, again bool) (bool, error) {
	var needed bool
	err := tx.QueryRow(ctx, `
		SELECT now(), $4 OR (f.app IS NOT NULL
		       AND NOT EXISTS (SELECT FROM cairn.browsers
		                       WHERE token_hash = $2 AND user_id = $1 AND trusted_until > now())
		       AND NOT EXISTS (SELECT FROM cairn.identities WHERE id = $3 AND user_id = $1 AND skips_code))
		FROM cairn.second_factors f WHERE user_id = $1`,
		p.UserID, digest(browser), p.IdentityID, again).Scan(&p.at, &needed)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("auth: look for the second factor of user %d: %w", p.UserID, err)
	}
	return needed, nil
}

// sealedPending is what the browser keeps.
type sealedPending struct {
	User, Identity int64
	Stamp          []byte
	Method         string
	Persistent     bool
	At             time.Time
}

const pendingData = "a sign-in that waits for a code"

// Seal returns what a browser keeps of a sign-in until the code comes.
func (a *Accounts) Seal(p Pending) (string, error) {
	plain, err := json.Marshal(sealedPending{p.UserID, p.IdentityID, p.stamp(), p.Method, p.Persistent, p.at})
	if err != nil {
		return "", fmt.Errorf("auth: encode a sign-in: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(a.sealer.Seal(plain, pendingData)), nil
}

// Open returns what Seal was given. Errors: ErrPending.
func (a *Accounts) Open(ctx context.Context, sealed string) (Pending, error) {
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil || sealed == "" {
		return Pending{}, ErrPending
	}
	plain, err := a.sealer.Open(raw, pendingData)
	if err != nil {
		return Pending{}, ErrPending
	}
	var s sealedPending
	if err := json.Unmarshal(plain, &s); err != nil {
		return Pending{}, ErrPending
	}
	var inTime bool
	err = a.pool.QueryRow(ctx, `SELECT now() < $1::timestamptz + $2::interval`, s.At, pendingLife).Scan(&inTime)
	switch {
	case err != nil:
		return Pending{}, fmt.Errorf("auth: read the clock: %w", err)
	case !inTime:
		return Pending{}, ErrPending
	}
	return Pending{Proof{UserID: s.User, IdentityID: s.Identity, stamped: s.Stamp}, s.Method, s.Persistent, s.At}, nil
}

// CodeProof is a code that was checked. UseCode checks the rest.
type CodeProof struct {
	UserID int64

	appSince   time.Time // when the app was set up; zero: it is a recovery code
	step       int64     // of the app's code
	recoveryID int64     // of the recovery code
}

// CheckCode checks a code of a user. browser is the token of a known browser, or "". Errors: ErrCode, *LimitError,
// ErrBusy.
func (a *Accounts) CheckCode(ctx context.Context, userID int64, code, address, browser string) (CodeProof, error) {
	own, err := a.codeCount(ctx, userID, browser)
	if err != nil {
		return CodeProof{}, err
	}
	if err := a.Allow(ctx, own, a.Limits.CodeNetwork.From(address)); err != nil {
		return CodeProof{}, err
	}
	proof, err := a.matchCode(ctx, userID, plainCode(code))
	switch {
	case errors.Is(err, ErrCode):
		return CodeProof{}, errors.Join(err, a.noteWrongCode(ctx, userID))
	case err != nil:
		return CodeProof{}, err
	}
	return proof, a.Reset(ctx, own)
}

// codeCount counts the codes that are tried for an account. A known browser has its own, so that somebody who knows the
// password can't keep the owner from entering a code. It must have signed in since the app was set up: somebody who
// knew the password before may have many browsers, and would have as many tries more.
func (a *Accounts) codeCount(ctx context.Context, userID int64, browser string) (Count, error) {
	var known bool
	err := a.pool.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM cairn.browsers JOIN cairn.second_factors USING (user_id)
		               WHERE token_hash = $2 AND user_id = $1 AND last_used >= COALESCE(app_since, '-infinity'))`,
		userID, digest(browser)).Scan(&known)
	switch {
	case err != nil:
		return Count{}, fmt.Errorf("auth: look for a browser of user %d: %w", userID, err)
	case known:
		return a.Limits.CodeBrowser.Of(userID, browser), nil
	}
	return a.Limits.CodeAccount.Of(userID), nil
}

func (a *Accounts) matchCode(ctx context.Context, userID int64, code string) (CodeProof, error) {
	if _, err := strconv.Atoi(code); err == nil && len(code) == totp.Digits {
		return a.matchAppCode(ctx, userID, code)
	}
	if len(code) != codeSize || strings.Trim(code, codeLetters) != "" {
		return CodeProof{}, ErrCode
	}
	proof, hash := CodeProof{UserID: userID}, a.hash.decoy
	err := a.pool.QueryRow(ctx, `
		SELECT id, hash FROM cairn.recovery_codes WHERE user_id = $1 AND start = $2`, userID, code[:codeStart]).
		Scan(&proof.recoveryID, &hash)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return CodeProof{}, fmt.Errorf("auth: find a code of user %d: %w", userID, err)
	}
	match, err := a.hash.matches(ctx, code[codeStart:], hash)
	if err == nil && (!match || proof.recoveryID == 0) {
		err = ErrCode
	}
	return proof, err
}

func (a *Accounts) matchAppCode(ctx context.Context, userID int64, code string) (CodeProof, error) {
	proof := CodeProof{UserID: userID}
	var app []byte
	var last int64
	var now time.Time
	err := a.pool.QueryRow(ctx, `
		SELECT app, app_since, last_step, now() FROM cairn.second_factors
		WHERE user_id = $1 AND app IS NOT NULL`, userID).
		Scan(&app, &proof.appSince, &last, &now)
	if errors.Is(err, pgx.ErrNoRows) {
		return CodeProof{}, ErrCode
	}
	if err != nil {
		return CodeProof{}, fmt.Errorf("auth: find the app of user %d: %w", userID, err)
	}
	secret, err := a.sealer.Open(app, appData(userID))
	if err != nil {
		return CodeProof{}, fmt.Errorf("auth: open the app of user %d: %w", userID, err)
	}
	step, ok := totp.Secret(secret).Step(code, now.Add(a.codeClock()))
	if !ok || step <= last {
		return CodeProof{}, ErrCode
	}
	proof.step = step
	return proof, nil
}

// noteWrongCode counts wrong codes in a row, and tells the owner of the account when there are many: somebody has
// proven the first factor.
func (a *Accounts) noteWrongCode(ctx context.Context, userID int64) error {
	return pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		if err := KeepUser(ctx, tx, userID); errors.Is(err, ErrNotFound) {
			return nil
		} else if err != nil && !errors.Is(err, ErrDisabled) {
			return err
		}
		var wrong int
		err := tx.QueryRow(ctx, `
			UPDATE cairn.second_factors SET wrong_codes = wrong_codes + 1 WHERE user_id = $1
			RETURNING wrong_codes`, userID).Scan(&wrong)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return nil
		case err != nil:
			return fmt.Errorf("auth: count wrong codes of user %d: %w", userID, err)
		case wrong == tellAfter || wrong%tellEvery == 0:
			return a.Notify(ctx, tx, userID, mail.WrongCodes, nil)
		}
		return nil
	})
}

// UseCode uses a code, once, in the transaction that acts on it. It comes after the first factor. Errors: ErrCode.
func (a *Accounts) UseCode(ctx context.Context, tx pgx.Tx, p CodeProof) error {
	if p.appSince.IsZero() {
		return a.useRecoveryCode(ctx, tx, p)
	}
	tag, err := tx.Exec(ctx, `
		UPDATE cairn.second_factors SET last_step = $3, wrong_codes = 0
		WHERE user_id = $1 AND app_since = $2 AND last_step < $3`, p.UserID, p.appSince, p.step)
	if err != nil {
		return fmt.Errorf("auth: use a code of user %d: %w", p.UserID, err)
	}
	if tag.RowsAffected() == 0 {
		return ErrCode
	}
	return nil
}

func (a *Accounts) useRecoveryCode(ctx context.Context, tx pgx.Tx, p CodeProof) error {
	// This lock comes first, as in UseCode.
	_, err := tx.Exec(ctx, `UPDATE cairn.second_factors SET wrong_codes = 0 WHERE user_id = $1`, p.UserID)
	if err != nil {
		return fmt.Errorf("auth: lock the second factor of user %d: %w", p.UserID, err)
	}
	var left int
	err = tx.QueryRow(ctx, `
		DELETE FROM cairn.recovery_codes WHERE id = $2 AND user_id = $1
		RETURNING (SELECT count(*) - 1 FROM cairn.recovery_codes WHERE user_id = $1)`,
		p.UserID, p.recoveryID).Scan(&left)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrCode
	}
	if err != nil {
		return fmt.Errorf("auth: use a recovery code of user %d: %w", p.UserID, err)
	}
	return a.Notify(ctx, tx, p.UserID, mail.CodeUsed, mail.Facts{"left": strconv.Itoa(left)})
}
