package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/db"
	"cairn/internal/mail"
)

// A link in a message proves that its holder reads the mail of an address. It does what its purpose says once the
// holder confirms it. A page only stores a request, which is a row without a token: linkJob decides whether to send a
// message. So the page can't reveal who has an account.
//
// Tokens are derived from SESSION_SECRET. After the secret changes, links that were sent still work, but messages that
// are still waiting are dropped.

// Purpose is what a link is for.
type Purpose string

// Purposes, as cairn.links has them.
const (
	ToSignUp Purpose = "signup" // make the account that was asked for
	ToReset  Purpose = "reset"  // choose a new password
	ToVerify Purpose = "verify" // prove the address of an account
	ToChange Purpose = "change" // prove a new address for an account
	ToUndo   Purpose = "undo"   // undo a change of address
	ToReject Purpose = "reject" // undo what was done since a session began
	ToInvite Purpose = "invite" // make an account
)

// life is how long a link is good after it was sent.
func (p Purpose) life() time.Duration {
	switch p {
	case ToReset:
		return 30 * time.Minute
	case ToUndo, ToReject, ToInvite:
		return 7 * 24 * time.Hour
	}
	return 24 * time.Hour
}

const (
	maxLinks    = 3                // that are good at a time, for one address and purpose
	linkPause   = 10 * time.Minute // between two resets of one account
	signUpPause = time.Hour        // before a further sign-up takes the place of one of maxLinks
	requestLife = time.Hour        // of a request that no job has looked at
)

// ErrLink says that a link is not good, or not any more.
var ErrLink = fmt.Errorf("auth: %w", mail.ErrNoLink)

// Link is a link as it was found by its token, or by its id for the message.
type Link struct {
	ID      int64
	Purpose Purpose
	UserID  int64  // 0: a sign-up's, or an invitation's
	Name    string // the user's, or that of a sign-up
	Email   string

	details linkDetails

	created time.Time
	key     string
	browser []byte // the hash of the token of the browser that asked for it
}

// linkDetails is what a purpose needs.
type linkDetails struct {
	Name string `json:"name,omitempty"` // of the account to make
	Hash string `json:"hash,omitempty"` // of its password
	By   string `json:"by,omitempty"`   // byOperator: it is in no message, and proves no address

	SignIn mail.Facts `json:"sign_in,omitempty"` // of the message that has the link
}

// RequestedIn reports whether the link was requested in the browser with this token.
func (l Link) RequestedIn(browser string) bool {
	return browser != "" && hmac.Equal(l.browser, digest(browser))
}

// requestLink stores a request and enqueues its job.
func (a *Accounts) requestLink(ctx context.Context, l Link, browser string) error {
	return pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		r, err := insertLink(ctx, tx, l, browser)
		if err != nil {
			return err
		}
		_, err = a.mail.InsertTx(ctx, tx, linkJob{r.ID}, nil)
		return err
	})
}

// sendLink sends a link that nobody asked for, in the transaction of its cause.
func (a *Accounts) sendLink(ctx context.Context, tx pgx.Tx, l Link) error {
	r, err := insertLink(ctx, tx, l, "")
	if err != nil {
		return err
	}
	return a.send(ctx, tx, r, outcome{mail.Kind(l.Purpose), l.UserID, true})
}

func insertLink(ctx context.Context, tx pgx.Tx, l Link, browser string) (request, error) {
	details, err := json.Marshal(l.details)
	if err != nil {
		return request{}, fmt.Errorf("auth: encode a link: %w", err)
	}
	var hash []byte
	if browser != "" {
		hash = digest(browser)
	}
	r := request{l, make([]byte, 16)}
	_, _ = rand.Read(r.nonce) // never fails
	err = tx.QueryRow(ctx, `
		INSERT INTO cairn.links (purpose, user_id, email, email_key, nonce, browser_hash, details, expires_at)
		VALUES ($1, NULLIF($2::bigint, 0), $3, $4, $5, $6, $7, now() + $8::interval) RETURNING id`,
		l.Purpose, l.UserID, l.Email, l.key, r.nonce, hash, string(details), requestLife).Scan(&r.ID)
	if err != nil {
		return request{}, fmt.Errorf("auth: store a link: %w", err)
	}
	return r, nil
}

// makeLink makes a link that is good at once, without a message, and returns its id and token.
func (a *Accounts) makeLink(ctx context.Context, tx pgx.Tx, l Link) (id int64, token string, err error) {
	r, err := insertLink(ctx, tx, l, "")
	if err != nil {
		return 0, "", err
	}
	token = a.token(r.ID, r.nonce)
	_, err = tx.Exec(ctx, `
		UPDATE cairn.links SET token_hash = $2, sent_at = now(), expires_at = now() + $3::interval WHERE id = $1`,
		r.ID, digest(token), l.Purpose.life())
	if err != nil {
		return 0, "", fmt.Errorf("auth: make link %d good: %w", r.ID, err)
	}
	return r.ID, token, nil
}

// token computes the token of a link. It is the same in every try to send it, and nobody can compute it from the
// database alone.
func (a *Accounts) token(id int64, nonce []byte) string {
	mac := hmac.New(sha256.New, a.secret)
	_, _ = fmt.Fprintf(mac, "link %d ", id)
	_, _ = mac.Write(nonce)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// ValidToken reports whether a token has the shape of a link's.
func ValidToken(token string) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	return err == nil && len(raw) == sha256.Size
}

// LinkToken returns the token of a link that is good, for its message. Errors: ErrLink.
func (a *Accounts) LinkToken(ctx context.Context, id int64) (string, error) {
	var nonce, hash []byte
	err := a.pool.QueryRow(ctx, `
		SELECT nonce, token_hash FROM cairn.links
		WHERE id = $1 AND token_hash IS NOT NULL AND expires_at > now()`, id).Scan(&nonce, &hash)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", ErrLink
	}
	if err != nil {
		return "", fmt.Errorf("auth: read link %d: %w", id, err)
	}
	token := a.token(id, nonce)
	if !hmac.Equal(hash, digest(token)) {
		return "", ErrLink // the secret has changed since
	}
	return token, nil
}

// FindLink returns the link with a token, for the page that asks what its holder wants. Errors: ErrLink.
func (a *Accounts) FindLink(ctx context.Context, purpose Purpose, token string) (Link, error) {
	return scanLink(a.pool.QueryRow(ctx, selectLink, purpose, digest(token)))
}

// selectLink finds the link with a purpose and a token.
const selectLink = `
	SELECT l.id, l.purpose, COALESCE(l.user_id, 0), COALESCE(u.display_name, l.details->>'name', ''),
	       l.email, l.email_key, l.browser_hash, l.details, l.created_at
	FROM cairn.links l LEFT JOIN cairn.users u ON u.id = l.user_id
	WHERE l.purpose = $1 AND l.token_hash = $2 AND l.expires_at > now()`

func scanLink(row pgx.Row) (l Link, err error) {
	err = row.Scan(&l.ID, &l.Purpose, &l.UserID, &l.Name, &l.Email, &l.key, &l.browser, &l.details, &l.created)
	if errors.Is(err, pgx.ErrNoRows) {
		return Link{}, ErrLink
	}
	if err != nil {
		return Link{}, fmt.Errorf("auth: find a link: %w", err)
	}
	return l, nil
}

// takeLink deletes a link so that it is good once. It comes after the lock of its user. Errors: ErrLink.
func takeLink(ctx context.Context, tx pgx.Tx, l Link) error {
	tag, err := tx.Exec(ctx, `DELETE FROM cairn.links WHERE id = $1 AND expires_at > now()`, l.ID)
	if err != nil {
		return fmt.Errorf("auth: take link %d: %w", l.ID, err)
	}
	if tag.RowsAffected() == 0 {
		return ErrLink
	}
	return nil
}

// EndLinks deletes the links to an account, in the transaction that locks others out of it. An intruder can do that,
// too, so undo and reject links stay.
func (a *Accounts) EndLinks(ctx context.Context, tx pgx.Tx, userID int64) error {
	_, err := tx.Exec(ctx, `
		DELETE FROM cairn.links WHERE user_id = $1 AND purpose NOT IN ('undo', 'reject')`, userID)
	if err != nil {
		return fmt.Errorf("auth: end the links of user %d: %w", userID, err)
	}
	return nil
}

// endChanges ends changes of an account's address that wait for their link. They may have been asked for with one
// factor.
func endChanges(ctx context.Context, tx pgx.Tx, userID int64) error {
	_, err := tx.Exec(ctx, `DELETE FROM cairn.links WHERE user_id = $1 AND purpose = 'change'`, userID)
	if err != nil {
		return fmt.Errorf("auth: end changes of the address of user %d: %w", userID, err)
	}
	return nil
}

// SweepLinks deletes one batch of links that are too old, and reports whether more may be left.
func (a *Accounts) SweepLinks(ctx context.Context) (more bool, err error) {
	tag, err := a.pool.Exec(ctx, `
		DELETE FROM cairn.links WHERE id IN (
			SELECT id FROM cairn.links WHERE expires_at < now() ORDER BY expires_at LIMIT $1
			FOR UPDATE SKIP LOCKED)`, db.Batch)
	if err != nil {
		return false, fmt.Errorf("auth: sweep links: %w", err)
	}
	return tag.RowsAffected() == db.Batch, nil
}
