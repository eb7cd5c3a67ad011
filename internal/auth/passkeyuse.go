package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/db"
	"cairn/internal/mail"
	"cairn/internal/passkey"
)

const (
	challengeLife = 10 * time.Minute
	// A transaction that began in time may still use a challenge: its row stays longer than any transaction.
	usedChallengeLife = time.Hour
)

// PasskeyOptions returns the options, in JSON, for a browser that asks for a passkey: for any that signs in here, or
// for one of this user's, to confirm. Errors: ErrNotFound.
func (a *Accounts) PasskeyOptions(ctx context.Context, asked passkey.Asked) ([]byte, error) {
	expires, err := a.challengeExpires(ctx)
	if err != nil {
		return nil, err
	}
	var own []Passkey
	if asked.UserID != 0 {
		if own, err = a.passkeysOf(ctx, asked.UserID); err != nil {
			return nil, err
		}
	}
	return a.passkeys.UseOptions(asked, expires, signingIn(own))
}

// NewPasskeyOptions returns the options, in JSON, for a browser that makes a passkey. Errors: ErrNotFound.
func (a *Accounts) NewPasskeyOptions(ctx context.Context, asked passkey.Asked) ([]byte, error) {
	expires, err := a.challengeExpires(ctx)
	if err != nil {
		return nil, err
	}
	account, err := a.Get(ctx, asked.UserID)
	if err != nil {
		return nil, err
	}
	owner, err := a.passkeyOwner(ctx, account)
	if err != nil {
		return nil, err
	}
	return a.passkeys.AddOptions(asked, expires, owner, signingIn(account.Passkeys))
}

// challengeExpires returns when a challenge made now expires. Errors: ErrNotFound if this server can't
// have passkeys.
func (a *Accounts) challengeExpires(ctx context.Context) (expires time.Time, err error) {
	if !a.PasskeysOn() {
		return time.Time{}, ErrNotFound
	}
	err = a.pool.QueryRow(ctx, `SELECT now() + $1::interval`, challengeLife).Scan(&expires)
	if err != nil {
		return time.Time{}, fmt.Errorf("auth: make a challenge: %w", err)
	}
	return expires, nil
}

// signingIn returns those of a user's passkeys that sign in here.
func signingIn(all []Passkey) (own []passkey.Passkey) {
	for _, k := range all {
		if k.SignsIn {
			own = append(own, k.Passkey)
		}
	}
	return own
}

// CheckNewPasskey checks the answer of a browser that made a passkey. The passkey gets the name of its authenticator,
// or else of the browser. Errors: ErrNotFound, ErrChallenge, ErrPasskey, ErrBusy.
func (a *Accounts) CheckNewPasskey(
	ctx context.Context, asked passkey.Asked, answer, browserName string,
) (NewPasskey, error) {
	if !a.PasskeysOn() {
		return NewPasskey{}, ErrNotFound
	}
	account, err := a.Get(ctx, asked.UserID)
	if err != nil {
		return NewPasskey{}, err
	}
	owner, err := a.passkeyOwner(ctx, account)
	if err != nil {
		return NewPasskey{}, err
	}
	made, to, err := a.passkeys.CheckNew(answer, asked, owner)
	if err != nil {
		return NewPasskey{}, err
	}
	name := made.Authenticator()
	if name == "" {
		name = browserName
	}
	codes, err := a.firstCodes(ctx, account.ID)
	return NewPasskey{Passkey: made, to: to, name: name, codes: codes}, err
}

// PasskeyProof is a passkey whose answer was checked. UsePasskey checks the rest.
type PasskeyProof struct {
	UserID int64

	rowID int64
	name  string
	to    passkey.Answered
	used  passkey.Used
}

// CheckPasskey checks an answer, of anybody or of the user who was asked. Errors: ErrNotFound, ErrChallenge,
// ErrPasskey.
func (a *Accounts) CheckPasskey(ctx context.Context, asked passkey.Asked, answer string) (PasskeyProof, error) {
	if !a.PasskeysOn() {
		return PasskeyProof{}, ErrNotFound
	}
	x, err := a.passkeys.Read(answer, asked)
	if err != nil {
		return PasskeyProof{}, err
	}
	userID, handle, k, err := a.findPasskey(ctx, x.ID)
	switch {
	case err != nil:
		return PasskeyProof{}, err
	case !k.SignsIn, asked.UserID != 0 && asked.UserID != userID:
		return PasskeyProof{}, fmt.Errorf("%w: it is another host's, or another user's", ErrPasskey)
	}
	used, err := a.passkeys.Check(x, k.Passkey, passkey.Owner{Handle: handle})
	return PasskeyProof{userID, k.RowID, k.Name, x.Answered, used}, err
}

// UnknownPasskeyError is an ErrPasskey: no account has the passkey.
type UnknownPasskeyError struct {
	Signal string // in JSON, what the browser tells the password manager that offered it
}

func (e *UnknownPasskeyError) Error() string { return ErrPasskey.Error() + ": it is unknown" }
func (e *UnknownPasskeyError) Unwrap() error { return ErrPasskey }

func (a *Accounts) unknownPasskey(id []byte) error {
	signal, err := a.passkeys.SignalUnknown(id)
	if err != nil {
		return err
	}
	return &UnknownPasskeyError{signal}
}

// findPasskey returns the passkey with an id, and whose it is. Errors: *UnknownPasskeyError.
func (a *Accounts) findPasskey(ctx context.Context, id []byte) (userID int64, handle []byte, k Passkey, err error) {
	err = a.pool.QueryRow(ctx, `
		SELECT user_id, u.handle, `+passkeyColumns+`
		FROM cairn.passkeys k JOIN cairn.passkey_users u USING (user_id)
		WHERE k.credential_id = $1`, id).Scan(append([]any{&userID, &handle}, k.columns()...)...)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil, Passkey{}, a.unknownPasskey(id)
	}
	if err != nil {
		return 0, nil, Passkey{}, fmt.Errorf("auth: find a passkey: %w", err)
	}
	k.SignsIn = k.Host == a.passkeyHost()
	return userID, handle, k, nil
}

// UsePasskey checks, in the transaction that acts on a proof, that its answer is used once and in time, and that the
// passkey was not removed since. It locks the challenge, the user and then the passkey, and notes the use. Errors:
// ErrChallenge, ErrPasskey.
func (a *Accounts) UsePasskey(ctx context.Context, tx pgx.Tx, p PasskeyProof) error {
	if err := useChallenge(ctx, tx, p.to); err != nil {
		return err
	}
	if err := KeepUser(ctx, tx, p.UserID); errors.Is(err, ErrNotFound) {
		return ErrPasskey
	} else if err != nil {
		return err
	}
	var counted int64
	err := tx.QueryRow(ctx, `
		SELECT counter FROM cairn.passkeys WHERE id = $1 AND user_id = $2 FOR UPDATE`, p.rowID, p.UserID).Scan(&counted)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrPasskey
	}
	if err != nil {
		return fmt.Errorf("auth: lock passkey %d: %w", p.rowID, err)
	}
	return a.noteUse(ctx, tx, p, p.used.Counter <= counted && (p.used.Counter > 0 || counted > 0))
}

// noteUse notes that a passkey was used. A counter that went back may mean that somebody copied the passkey. But
// authenticators that keep passkeys on several devices don't count well either, so the owner is told, and let in.
func (a *Accounts) noteUse(ctx context.Context, tx pgx.Tx, p PasskeyProof, counterBack bool) error {
	_, err := tx.Exec(ctx, `
		UPDATE cairn.passkeys SET last_used_at = now(), backed_up = $2, counter = $3,
		       counter_back_at = CASE WHEN $4 THEN now() ELSE counter_back_at END
		WHERE id = $1`, p.rowID, p.used.BackedUp, p.used.Counter, counterBack)
	if err != nil {
		return fmt.Errorf("auth: note the use of passkey %d: %w", p.rowID, err)
	}
	if !counterBack {
		return nil
	}
	return a.Notify(ctx, tx, p.UserID, mail.PasskeyCounter, mail.Facts{"passkey": p.name})
}

// useChallenge uses a challenge, once and in time, on whatever instance. It comes before all other locks: of two
// transactions that use the same one, the second waits here. Errors: ErrChallenge.
func useChallenge(ctx context.Context, tx pgx.Tx, to passkey.Answered) error {
	tag, err := tx.Exec(ctx, `
		INSERT INTO cairn.used_challenges (challenge_hash, expires_at) SELECT $1, $2 WHERE now() < $2
		ON CONFLICT DO NOTHING`, to.Hash, to.Expires)
	if err != nil {
		return fmt.Errorf("auth: use a challenge: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return ErrChallenge
	}
	return nil
}

// SweepChallenges deletes one batch of used challenges that are no longer good, and reports whether more may be left.
func (a *Accounts) SweepChallenges(ctx context.Context) (more bool, err error) {
	tag, err := a.pool.Exec(ctx, `
		DELETE FROM cairn.used_challenges WHERE challenge_hash IN (
			SELECT challenge_hash FROM cairn.used_challenges WHERE expires_at < now() - $1::interval
			ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)`, usedChallengeLife, db.Batch)
	if err != nil {
		return false, fmt.Errorf("auth: sweep challenges: %w", err)
	}
	return tag.RowsAffected() == db.Batch, nil
}
