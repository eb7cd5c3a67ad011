package oauth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/oauth2"

	"cairn/db"
)

// Owner is who begins an attempt and may finish it: a signed-in person in one session, or a browser, which has a
// short-lived cookie for it. A browser without a session may connect, too, for a user who was proven in another way.
type Owner struct {
	UserID, SessionID int64
	Browser           string // the value of that cookie; used when SessionID is 0
}

// Attempt is a consumed attempt. Its times are by the database's clock.
type Attempt struct {
	Provider   *Provider
	SignIn     bool // false: connect to the account of UserID
	UserID     int64
	ReturnPath string
	Begun      time.Time
	Consumed   time.Time
	verifier   string
}

// maxCode is how many bytes a code may have: more than any provider sends, and fewer than any provider refuses.
const maxCode = 2048

// maxAttempts is how many attempts a browser may have under way. The next one deletes the oldest.
const maxAttempts = 10

// Begin stores an attempt and returns the address of the provider's consent page. Errors: *Error if the provider wants
// no calls now, because the person would go there in vain.
func (c *Client) Begin(ctx context.Context, p *Provider, owner Owner, returnPath string) (string, error) {
	if _, err := c.At(p).reserve(inShare(ctx, signingIn), "authorize", reservation); err != nil {
		return "", err
	}
	state, verifier := rand.Text(), oauth2.GenerateVerifier()
	purpose, browser := "connect", []byte(nil)
	if owner.UserID == 0 {
		purpose = "sign_in"
	}
	if owner.SessionID == 0 {
		browser = digest(owner.Browser)
	}
	_, err := c.pool.Exec(ctx, `
		WITH forgotten AS (
			DELETE FROM cairn.oauth_attempts WHERE state_hash IN (
				SELECT state_hash FROM cairn.oauth_attempts
				WHERE session_id = NULLIF($5, 0) OR browser_hash = $6
				ORDER BY created_at DESC OFFSET $9 - 1))
		INSERT INTO cairn.oauth_attempts
			(state_hash, provider, purpose, user_id, session_id, browser_hash, verifier, return_path)
		VALUES ($1, $2, $3, NULLIF($4, 0), NULLIF($5, 0), $6, $7, $8)`,
		digest(state), p.Key, purpose, owner.UserID, owner.SessionID, browser, verifier, returnPath, maxAttempts)
	if err != nil {
		return "", fmt.Errorf("oauth: begin an attempt at %s: %w", p.Key, err)
	}
	options := p.AuthParams
	if p.PKCE {
		options = append(options[:len(options):len(options)], oauth2.S256ChallengeOption(verifier))
	}
	return p.Config.AuthCodeURL(state, options...), nil
}

// Consume removes the attempt with this state and checks that it belongs to this browser and this provider. The state
// is spent in any case. Errors: ErrAttempt (unknown, used, too old, or another provider's), ErrOtherBrowser.
func (c *Client) Consume(ctx context.Context, p *Provider, state string, owner Owner) (Attempt, error) {
	if state == "" {
		return Attempt{}, ErrAttempt
	}
	var provider, purpose string
	var userID, sessionID int64
	var browser []byte
	var live bool
	a := Attempt{Provider: p}
	err := c.pool.QueryRow(ctx, `
		DELETE FROM cairn.oauth_attempts WHERE state_hash = $1
		RETURNING provider, purpose, COALESCE(user_id, 0), COALESCE(session_id, 0), browser_hash, verifier, return_path,
		          created_at, now(), created_at > now() - $2::interval`, digest(state), c.limits.Attempt).
		Scan(&provider, &purpose, &userID, &sessionID, &browser, &a.verifier, &a.ReturnPath,
			&a.Begun, &a.Consumed, &live)
	if errors.Is(err, pgx.ErrNoRows) {
		return Attempt{}, ErrAttempt
	}
	if err != nil {
		return Attempt{}, fmt.Errorf("oauth: consume an attempt at %s: %w", p.Key, err)
	}
	if !live || provider != p.Key {
		return Attempt{}, ErrAttempt
	}
	a.SignIn, a.UserID = purpose == "sign_in", userID
	if sessionID == 0 && subtle.ConstantTimeCompare(browser, digest(owner.Browser)) == 0 ||
		sessionID != 0 && (userID != owner.UserID || sessionID != owner.SessionID) {
		return Attempt{}, ErrOtherBrowser
	}
	return a, nil
}

// Grant is the result of an exchange: whose account it is, and the tokens for it.
type Grant struct {
	Provider *Provider
	Account
	Token *oauth2.Token
}

// Exchange exchanges the code in the callback of a consumed attempt for tokens. It sends the code once, then asks the
// provider whose account it is, unless the answer to the code says so. It calls allow before it sends the code, with
// "", and again with the subject if the answer names it. Errors: ErrDenied, *Error, those of allow.
func (c *Client) Exchange(
	ctx context.Context, a Attempt, callback url.Values, allow func(subject string) error,
) (Grant, error) {
	code := callback.Get("code")
	if callback.Get("error") == "access_denied" || code == "" && callback.Get("error") == "" {
		return Grant{}, ErrDenied
	}
	at := c.At(a.Provider)
	if len(code) > maxCode {
		return Grant{}, at.Fail("authorize", ErrRefused, 0, "")
	}
	if code == "" {
		return Grant{}, at.Fail("authorize", ErrUnavailable, 0, standardCode(callback.Get("error")))
	}
	if err := allow(""); err != nil {
		return Grant{}, err
	}
	ctx = inShare(ctx, signingIn)
	token, err := at.exchange(ctx, code, a.verifier)
	if err != nil {
		return Grant{}, err
	}
	account, err := at.account(ctx, token, allow)
	if err != nil {
		return Grant{}, err
	}
	if a.Provider.GrantedOf != nil {
		account.Granted = a.Provider.GrantedOf(callback, token)
	}
	return Grant{Provider: a.Provider, Account: account, Token: token}, nil
}

// account returns the account that a token is for.
func (c *Caller) account(ctx context.Context, t *oauth2.Token, allow func(subject string) error) (Account, error) {
	if c.AccountOf != nil {
		if account, named := c.AccountOf(c.Provider, t); named {
			return account, allow(account.Subject)
		}
	}
	return c.UserInfo(ctx, c, t.AccessToken)
}

// Sweep deletes one batch of attempts that are too old and reports whether more may be left.
func (c *Client) Sweep(ctx context.Context) (more bool, err error) {
	tag, err := c.pool.Exec(ctx, `
		DELETE FROM cairn.oauth_attempts WHERE state_hash IN (
			SELECT state_hash FROM cairn.oauth_attempts
			WHERE created_at < now() - $1::interval
			ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)`, c.limits.Attempt, db.Batch)
	if err != nil {
		return false, fmt.Errorf("oauth: sweep attempts: %w", err)
	}
	return tag.RowsAffected() == db.Batch, nil
}

func digest(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}
