package auth

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/text/unicode/norm"

	"cairn/internal/mail"
	"cairn/internal/passkey"
	"cairn/internal/text"
)

const (
	maxPasskeys    = 20 // of an account
	maxPasskeyName = 60 // characters
)

// Passkey is a passkey of an account. It is a sign-in method if it signs in.
type Passkey struct {
	passkey.Passkey
	RowID   int64
	Name    string // "Chrome on Android"
	SignsIn bool   // false: it is for a host that was PUBLIC_URL's before
	Since   time.Time
	Used    *time.Time // nil: never
}

// PasskeysOn reports whether this server can have passkeys. Otherwise its host is an IP address.
func (a *Accounts) PasskeysOn() bool { return a.passkeys != nil }

// passkeyHost is the host whose passkeys sign in here; "": none do.
func (a *Accounts) passkeyHost() string {
	if a.passkeys == nil {
		return ""
	}
	return a.passkeys.Host
}

const passkeyColumns = `k.credential_id, k.public_key, k.host, k.aaguid, k.transports, k.counter, k.backup_eligible,
	k.backed_up, k.id, k.name, k.created_at, k.last_used_at`

// columns are where passkeyColumns go.
func (k *Passkey) columns() []any {
	return []any{&k.ID, &k.PublicKey, &k.Host, &k.AAGUID, &k.Transports, &k.Counter, &k.BackupEligible, &k.BackedUp,
		&k.RowID, &k.Name, &k.Since, &k.Used}
}

// selectPasskeys reads the passkeys of users, the oldest first.
const selectPasskeys = `
	SELECT user_id, ` + passkeyColumns + ` FROM cairn.passkeys k
	WHERE user_id = ANY($1) ORDER BY created_at, id`

// passkeysOf returns the passkeys of a user, the oldest first.
func (a *Accounts) passkeysOf(ctx context.Context, userID int64) ([]Passkey, error) {
	rows, _ := a.pool.Query(ctx, selectPasskeys, []int64{userID}) // ForEachRow returns its error
	of := map[int64][]Passkey{}
	if err := a.readPasskeys(rows, of); err != nil {
		return nil, fmt.Errorf("auth: read passkeys: %w", err)
	}
	return of[userID], nil
}

func (a *Accounts) readPasskeys(rows pgx.Rows, of map[int64][]Passkey) error {
	var userID int64
	var k Passkey
	_, err := pgx.ForEachRow(rows, append([]any{&userID}, k.columns()...), func() error {
		k.SignsIn = k.Host == a.passkeyHost()
		of[userID] = append(of[userID], k)
		return nil
	})
	return err
}

// passkeyOwner returns the owner of an account for authenticators, without a handle if there is none yet.
func (account Account) passkeyOwner() passkey.Owner {
	return passkey.Owner{Handle: account.handle, Name: cmp.Or(account.Email, account.Name)}
}

// passkeyOwner returns the owner of an account for authenticators. It makes the owner's handle the first time.
func (a *Accounts) passkeyOwner(ctx context.Context, account Account) (owner passkey.Owner, err error) {
	owner = account.passkeyOwner()
	err = a.pool.QueryRow(ctx, `
		INSERT INTO cairn.passkey_users AS p (user_id, handle) VALUES ($1, $2)
		ON CONFLICT (user_id) DO UPDATE SET handle = p.handle RETURNING handle`,
		account.ID, newHandle()).Scan(&owner.Handle)
	if err != nil {
		return passkey.Owner{}, fmt.Errorf("auth: make a handle for user %d: %w", account.ID, err)
	}
	return owner, nil
}

func newHandle() []byte {
	handle := make([]byte, 32)
	_, _ = rand.Read(handle) // never fails
	return handle
}

// NewPasskey is a passkey that was checked, and is not stored yet.
type NewPasskey struct {
	passkey.Passkey
	TwoFactors bool // the session that adds it has proven two

	to    passkey.Answered
	name  string
	codes RecoveryCodes
}

// AddPasskey adds a passkey to an account, under its name, or with a number behind that. It returns the name, and the
// recovery codes if they come with it. Errors: ErrNotFound, ErrFactor, ErrChallenge, ErrPasskeyTaken,
// ErrTooManyPasskeys.
func (a *Accounts) AddPasskey(
	ctx context.Context, tx pgx.Tx, userID int64, n NewPasskey,
) (name string, codes []string, err error) {
	if err := useChallenge(ctx, tx, n.to); err != nil {
		return "", nil, err
	}
	if err := lockMethods(ctx, tx, userID); err != nil {
		return "", nil, err
	}
	if err := requireFactors(ctx, tx, userID, n.TwoFactors); err != nil {
		return "", nil, err
	}
	if name, err = nameOfPasskey(ctx, tx, userID, n.name); err != nil {
		return "", nil, err
	}
	tag, err := tx.Exec(ctx, `
		INSERT INTO cairn.passkeys (user_id, credential_id, public_key, host, name, aaguid, transports, counter,
		                            backup_eligible, backed_up)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`,
		userID, n.ID, n.PublicKey, n.Host, name, n.AAGUID, n.Transports, n.Counter, n.BackupEligible, n.BackedUp)
	switch {
	case err != nil:
		return "", nil, fmt.Errorf("auth: insert a passkey of user %d: %w", userID, err)
	case tag.RowsAffected() == 0:
		return "", nil, ErrPasskeyTaken
	}
	if err := noteFactor(ctx, tx, userID); err != nil {
		return "", nil, err
	}
	if codes, err = giveCodes(ctx, tx, userID, n.codes); err != nil {
		return "", nil, err
	}
	if err := endChanges(ctx, tx, userID); err != nil {
		return "", nil, err
	}
	if err := a.distrust(ctx, tx, userID); err != nil {
		return "", nil, err
	}
	return name, codes, a.Notify(ctx, tx, userID, mail.PasskeyAdded, mail.Facts{"passkey": name})
}

// nameOfPasskey returns the name for a new passkey: if there is one with that name, the next number goes behind it.
// Errors: ErrTooManyPasskeys.
func nameOfPasskey(ctx context.Context, tx pgx.Tx, userID int64, wanted string) (string, error) {
	wanted = text.Clean(maxPasskeyName, wanted)
	rows, _ := tx.Query(ctx, `
		SELECT name FROM cairn.passkeys WHERE user_id = $1`, userID) // CollectRows returns its error
	taken, err := pgx.CollectRows(rows, pgx.RowTo[string])
	switch {
	case err != nil:
		return "", fmt.Errorf("auth: read names of passkeys of user %d: %w", userID, err)
	case len(taken) >= maxPasskeys:
		return "", ErrTooManyPasskeys
	}
	return numbered(wanted, taken), nil
}

// numbered appends to a name the lowest number that makes it unique among taken. A name that is free stays as it is.
func numbered(name string, taken []string) string {
	candidate := name
	for n := 2; slices.Contains(taken, candidate); n++ {
		candidate = name + " " + strconv.Itoa(n)
	}
	return candidate
}

// RenamePasskey gives a passkey another name, and returns that as it is stored. Errors: *FieldError, ErrNotFound,
// ErrDisabled.
func (a *Accounts) RenamePasskey(ctx context.Context, userID, rowID int64, name string) (string, error) {
	name, err := cleanPasskeyName(name)
	if err != nil {
		return "", err
	}
	return name, pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		if err := lockMethods(ctx, tx, userID); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `
			UPDATE cairn.passkeys SET name = $3 WHERE id = $1 AND user_id = $2`, rowID, userID, name)
		if err != nil {
			return fmt.Errorf("auth: rename passkey %d: %w", rowID, err)
		}
		if tag.RowsAffected() == 0 {
			return ErrNotFound
		}
		return requireOwnName(ctx, tx, userID, name)
	})
}

// cleanPasskeyName returns a name that somebody typed as it is stored. Errors: *FieldError.
func cleanPasskeyName(typed string) (string, error) {
	name := text.Clean(maxPasskeyName+1, norm.NFC.String(typed))
	if name == "" || utf8.RuneCountInString(name) > maxPasskeyName {
		return "", &FieldError{
			Field:   "name",
			Message: fmt.Sprintf("Please enter a name of 1 to %d characters.", maxPasskeyName),
		}
	}
	return name, nil
}

// requireOwnName returns a *FieldError if two passkeys of a user have this name: names tell passkeys apart.
func requireOwnName(ctx context.Context, tx pgx.Tx, userID int64, name string) error {
	var taken bool
	err := tx.QueryRow(ctx, `
		SELECT count(*) > 1 FROM cairn.passkeys WHERE user_id = $1 AND name = $2`, userID, name).Scan(&taken)
	if err != nil {
		return fmt.Errorf("auth: look for a passkey of user %d by its name: %w", userID, err)
	}
	if taken {
		return &FieldError{Field: "name", Message: "Another of your passkeys has this name."}
	}
	return nil
}

// RemovePasskey removes a passkey. Errors: ErrNotFound, ErrLastMethod.
func (a *Accounts) RemovePasskey(ctx context.Context, tx pgx.Tx, userID, rowID int64) (name string, err error) {
	if err := lockMethods(ctx, tx, userID); err != nil {
		return "", err
	}
	err = tx.QueryRow(ctx, `
		DELETE FROM cairn.passkeys WHERE id = $1 AND user_id = $2 RETURNING name`, rowID, userID).Scan(&name)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", ErrNotFound
	}
	if err != nil {
		return "", fmt.Errorf("auth: remove passkey %d: %w", rowID, err)
	}
	if err := a.requireMethod(ctx, tx, userID); err != nil {
		return "", err
	}
	if err := dropFactor(ctx, tx, userID); err != nil {
		return "", err
	}
	return name, a.Notify(ctx, tx, userID, mail.PasskeyRemoved, mail.Facts{"passkey": name})
}

// PasskeySignal returns, in JSON, what the browser of an account's owner tells password managers, so that they offer
// the passkeys that sign in here, and no others; "": nothing, because authenticators don't know the owner.
func (a *Accounts) PasskeySignal(account Account) (string, error) {
	if !a.PasskeysOn() || account.handle == nil {
		return "", nil
	}
	return a.passkeys.Signal(account.passkeyOwner(), signingIn(account.Passkeys))
}

// OffersPasskey reports whether a passkey is worth offering to a user: they have none, and have not declined.
func (a *Accounts) OffersPasskey(ctx context.Context, userID int64) (offer bool, err error) {
	if !a.PasskeysOn() {
		return false, nil
	}
	err = a.pool.QueryRow(ctx, `
		SELECT NOT EXISTS (SELECT FROM cairn.passkey_users WHERE user_id = $1 AND offer_declined)
		   AND NOT EXISTS (SELECT FROM cairn.passkeys WHERE user_id = $1 AND host = $2)`,
		userID, a.passkeyHost()).Scan(&offer)
	if err != nil {
		return false, fmt.Errorf("auth: look for passkeys of user %d: %w", userID, err)
	}
	return offer, nil
}

// DeclinePasskey ends that offer.
func (a *Accounts) DeclinePasskey(ctx context.Context, userID int64) error {
	_, err := a.pool.Exec(ctx, `
		INSERT INTO cairn.passkey_users (user_id, handle, offer_declined) VALUES ($1, $2, true)
		ON CONFLICT (user_id) DO UPDATE SET offer_declined = true`, userID, newHandle())
	if err != nil {
		return fmt.Errorf("auth: note that user %d wants no passkey: %w", userID, err)
	}
	return nil
}

// CountPasskeys counts the passkeys of a host, and all others, for operators.
func CountPasskeys(ctx context.Context, pool *pgxpool.Pool, host string) (there, elsewhere int, err error) {
	err = pool.QueryRow(ctx, `
		SELECT count(*) FILTER (WHERE host = $1), count(*) FILTER (WHERE host <> $1) FROM cairn.passkeys`,
		host).Scan(&there, &elsewhere)
	if err != nil {
		return 0, 0, fmt.Errorf("auth: count passkeys: %w", err)
	}
	return there, elsewhere, nil
}
