package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"golang.org/x/text/unicode/norm"

	"cairn/internal/mail"
)

const maxName = 100

// Account is a user with their sign-in methods.
type Account struct {
	ID          int64
	Name        string
	AvatarURL   string // at a provider; "": none
	Email       string // "": none
	Verified    bool   // somebody has proven that they read mail to Email
	MailRefused bool   // by the server of Email, for good
	Password    bool   // there is a password, which signs in together with Email
	Created     time.Time
	DisabledAt  time.Time // zero: it isn't
	Identities  []Identity
	Passkeys    []Passkey
	Second      SecondFactor

	handle   []byte      // by which authenticators know the user; nil: none yet
	unwanted []mail.Kind // messages that its owner does not want
}

// Identity is a provider's account. It is a sign-in method if it signs in.
type Identity struct {
	ID        int64
	Provider  string
	Subject   string
	Since     time.Time
	SignsIn   bool // false: an import said that the account is the user's, and the user has not confirmed that yet
	SkipsCode bool // it signs in without a code
}

// Methods returns how many sign-in methods the account has.
func (a Account) Methods() (n int) {
	for _, i := range a.Identities {
		if i.SignsIn {
			n++
		}
	}
	if a.Password {
		n++
	}
	for _, k := range a.Passkeys {
		if k.SignsIn {
			n++
		}
	}
	return n
}

// SignsInWith reports whether an account of this provider is a sign-in method.
func (a Account) SignsInWith(provider string) bool {
	return slices.ContainsFunc(a.Identities, func(i Identity) bool { return i.Provider == provider && i.SignsIn })
}

// Has reports whether an account of this provider is the user's, as a sign-in method or not.
func (a Account) Has(provider string) bool {
	return slices.ContainsFunc(a.Identities, func(i Identity) bool { return i.Provider == provider })
}

// selectAccounts reads accounts u without their identities and passkeys.
const selectAccounts = `
	SELECT u.id, u.display_name, COALESCE(u.avatar_url, ''), COALESCE(e.email, ''),
	       e.verified_at IS NOT NULL, e.refused_at IS NOT NULL,
	       EXISTS (SELECT FROM cairn.passwords p WHERE p.user_id = u.id), u.created_at, u.disabled_at,
	       f.user_id IS NOT NULL, f.app_since,
	       (SELECT count(*) FROM cairn.recovery_codes c WHERE c.user_id = f.user_id),
	       o.handle, u.unwanted_mail
	FROM cairn.users u
	LEFT JOIN cairn.emails e ON e.user_id = u.id
	LEFT JOIN cairn.second_factors f ON f.user_id = u.id
	LEFT JOIN cairn.passkey_users o ON o.user_id = u.id `

func scanAccount(row pgx.CollectableRow) (a Account, err error) {
	var disabled *time.Time
	err = row.Scan(&a.ID, &a.Name, &a.AvatarURL, &a.Email, &a.Verified, &a.MailRefused, &a.Password, &a.Created,
		&disabled, &a.Second.On, &a.Second.AppSince, &a.Second.Codes, &a.handle, &a.unwanted)
	if disabled != nil {
		a.DisabledAt = *disabled
	}
	return a, err
}

// Get returns an account, read in one round trip. Errors: ErrNotFound.
func (a *Accounts) Get(ctx context.Context, userID int64) (Account, error) {
	var batch pgx.Batch
	account := a.queueAccount(&batch, userID)
	return account(a.pool.SendBatch(ctx, &batch).Close())
}

// queueAccount adds the statements that read an account. It returns a function that takes the error of the batch, after
// it was sent, and returns the account.
func (a *Accounts) queueAccount(batch *pgx.Batch, userID int64) func(error) (Account, error) {
	var account Account
	batch.Queue(selectAccounts+`WHERE u.id = $1`, userID).Query(func(rows pgx.Rows) (err error) {
		account, err = pgx.CollectExactlyOneRow(rows, scanAccount)
		return err
	})
	identities, passkeys := a.queueCredentials(batch, []int64{userID})
	return func(err error) (Account, error) {
		if errors.Is(err, pgx.ErrNoRows) {
			return Account{}, ErrNotFound
		}
		if err != nil {
			return Account{}, fmt.Errorf("auth: read user %d: %w", userID, err)
		}
		account.Identities, account.Passkeys = identities[userID], passkeys[userID]
		return account, nil
	}
}

// queueCredentials adds the statements that read the identities and passkeys of users, the oldest first. The maps are
// filled when the batch is sent.
func (a *Accounts) queueCredentials(
	batch *pgx.Batch, userIDs []int64,
) (identities map[int64][]Identity, passkeys map[int64][]Passkey) {
	identities, passkeys = map[int64][]Identity{}, map[int64][]Passkey{}
	batch.Queue(`
		SELECT user_id, id, provider, subject, created_at, signs_in, skips_code FROM cairn.identities
		WHERE user_id = ANY($1) ORDER BY created_at, id`, userIDs).
		Query(func(rows pgx.Rows) error { return readIdentities(rows, identities) })
	batch.Queue(selectPasskeys, userIDs).
		Query(func(rows pgx.Rows) error { return a.readPasskeys(rows, passkeys) })
	return identities, passkeys
}

func readIdentities(rows pgx.Rows, of map[int64][]Identity) error {
	var userID int64
	var i Identity
	fields := []any{&userID, &i.ID, &i.Provider, &i.Subject, &i.Since, &i.SignsIn, &i.SkipsCode}
	_, err := pgx.ForEachRow(rows, fields, func() error {
		of[userID] = append(of[userID], i)
		return nil
	})
	return err
}

// Find returns the user who has this e-mail, for operators: the address may not be verified. Errors: ErrNotFound.
func (a *Accounts) Find(ctx context.Context, email string) (userID int64, err error) {
	err = a.pool.QueryRow(ctx, `
		SELECT user_id FROM cairn.emails WHERE email_key = $1`, emailKey(email)).Scan(&userID)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, ErrNotFound
	}
	if err != nil {
		return 0, fmt.Errorf("auth: find an account: %w", err)
	}
	return userID, nil
}

// FindByProvider returns the user whose account at a provider this is, as a sign-in method or not, for operators.
// Errors: ErrNotFound.
func (a *Accounts) FindByProvider(ctx context.Context, provider, subject string) (userID int64, err error) {
	err = a.pool.QueryRow(ctx, `
		SELECT user_id FROM cairn.identities WHERE provider = $1 AND subject = $2`, provider, subject).Scan(&userID)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, ErrNotFound
	}
	if err != nil {
		return 0, fmt.Errorf("auth: find an account: %w", err)
	}
	return userID, nil
}

// Rename changes the user's name. Errors: *FieldError.
func (a *Accounts) Rename(ctx context.Context, userID int64, name string) error {
	name, err := cleanName(name)
	if err != nil {
		return err
	}
	if _, err := a.pool.Exec(ctx, `UPDATE cairn.users SET display_name = $2 WHERE id = $1`, userID, name); err != nil {
		return fmt.Errorf("auth: rename user %d: %w", userID, err)
	}
	return nil
}

func cleanName(name string) (string, error) {
	name = strings.Join(strings.Fields(norm.NFC.String(name)), " ")
	if name == "" || utf8.RuneCountInString(name) > maxName ||
		!utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return "", &FieldError{
			Field:   "name",
			Message: fmt.Sprintf("Please enter a name of 1 to %d characters.", maxName),
		}
	}
	return name, nil
}

// nameFrom returns the first candidate that is acceptable as a name, shortened where it is too long.
func nameFrom(candidates ...string) string {
	for _, candidate := range candidates {
		runes := []rune(candidate)
		if name, err := cleanName(string(runes[:min(len(runes), maxName)])); err == nil {
			return name
		}
	}
	return "Traveller"
}

// lockMethods lets one transaction at a time change a user's sign-in methods. Otherwise each of two removals could see
// the other's method as the one that is left. Errors: ErrNotFound, ErrDisabled.
func lockMethods(ctx context.Context, tx pgx.Tx, userID int64) error {
	return enabled(userID, tx.QueryRow(ctx, `
		SELECT disabled_at IS NOT NULL FROM cairn.users WHERE id = $1 FOR NO KEY UPDATE`, userID))
}

// requireMethod returns ErrLastMethod if the user has no sign-in method.
func (a *Accounts) requireMethod(ctx context.Context, tx pgx.Tx, userID int64) error {
	var left bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM cairn.identities WHERE user_id = $1 AND signs_in)
		    OR EXISTS (SELECT FROM cairn.passwords WHERE user_id = $1)
		    OR EXISTS (SELECT FROM cairn.passkeys WHERE user_id = $1 AND host = $2)`,
		userID, a.passkeyHost()).Scan(&left)
	switch {
	case err != nil:
		return fmt.Errorf("auth: find sign-in methods of user %d: %w", userID, err)
	case !left:
		return ErrLastMethod
	}
	return nil
}

// CheckPassword compares the password of a user who is signed in. Errors: ErrCredentials, also if there is no password;
// ErrBusy. The caller applies the rate limit (Limits.PasswordSession).
func (a *Accounts) CheckPassword(ctx context.Context, userID int64, password string) (Proof, error) {
	proof := Proof{UserID: userID}
	err := a.pool.QueryRow(ctx, `
		SELECT e.email, p.hash FROM cairn.passwords p JOIN cairn.emails e USING (user_id)
		WHERE user_id = $1`, userID).Scan(&proof.email, &proof.hash)
	if errors.Is(err, pgx.ErrNoRows) {
		return Proof{}, ErrCredentials
	}
	if err != nil {
		return Proof{}, fmt.Errorf("auth: find password of user %d: %w", userID, err)
	}
	match, err := a.hash.matches(ctx, password, proof.hash)
	if err == nil && !match {
		err = ErrCredentials
	}
	return proof, err
}

// Delete removes a user with all sign-in methods, sessions and connections. before runs first, in the same transaction
// and under the lock of the user's row. Errors: ErrNotFound, before's.
func (a *Accounts) Delete(ctx context.Context, userID int64, before func(tx pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		var id int64
		err := tx.QueryRow(ctx, `SELECT id FROM cairn.users WHERE id = $1 FOR UPDATE`, userID).Scan(&id)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil {
			return fmt.Errorf("auth: lock user %d: %w", userID, err)
		}
		if err := before(tx); err != nil {
			return err
		}
		if err := a.mailTo(ctx, tx, userID, mail.AccountDeleted, origin(ctx)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM cairn.users WHERE id = $1`, userID); err != nil {
			return fmt.Errorf("auth: delete user %d: %w", userID, err)
		}
		return nil
	})
}
