package sandbox

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// tokenSpec says how one provider's tokens of one kind look and last.
type tokenSpec struct {
	kind   string        // "access", "refresh" or "pull"
	life   time.Duration // 0: for ever
	enough time.Duration // reuse returns the last token again if it lasts longer than this
	text   func(seed [32]byte) string
}

type token struct {
	ID        int64
	Text      string
	ExpiresAt int64 // epoch seconds; 0: never
	Left      int   // seconds
}

// issue creates a new token for the grant.
func (s *Sandbox) issue(ctx context.Context, g Grant, spec tokenSpec) (token, error) {
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce) // cannot fail
	t := token{Text: spec.text(s.seed(g.Provider, nonce)), Left: int(spec.life.Seconds())}
	err := s.pool.QueryRow(ctx, `
		INSERT INTO cairn_sandbox.tokens (grant_id, kind, nonce, hash, expires_at)
		VALUES ($1, $2, $3, $4, CASE WHEN $5::int > 0 THEN now() + make_interval(secs => $5::int) END)
		RETURNING id, coalesce(extract(epoch FROM expires_at)::bigint, 0)`,
		g.ID, spec.kind, nonce, hashOf(t.Text), t.Left).Scan(&t.ID, &t.ExpiresAt)
	if err != nil {
		return token{}, fmt.Errorf("sandbox: issue %s token: %w", spec.kind, err)
	}
	return t, nil
}

// reuse returns the grant's newest token again while it lasts long enough, else a new one.
func (s *Sandbox) reuse(ctx context.Context, g Grant, spec tokenSpec) (token, error) {
	type stored struct {
		token
		Nonce, Hash []byte
	}
	old, found, err := oneRow[stored](ctx, s.store, "find token", `
		SELECT id, '' AS text, nonce, hash,
			coalesce(extract(epoch FROM expires_at)::bigint, 0) AS expires_at,
			coalesce(floor(extract(epoch FROM expires_at - now()))::int, 0) AS "left"
		FROM cairn_sandbox.tokens
		WHERE grant_id = $1 AND kind = $2
			AND (expires_at IS NULL OR expires_at > now() + make_interval(secs => $3))
		ORDER BY id DESC LIMIT 1`, g.ID, spec.kind, spec.enough.Seconds())
	if err != nil {
		return token{}, err
	}
	old.Text = spec.text(s.seed(g.Provider, old.Nonce))
	if !found || !bytes.Equal(hashOf(old.Text), old.Hash) { // the client secret has changed
		return s.issue(ctx, g, spec)
	}
	return old.token, nil
}

// seed derives a token. Only its hash is stored, but the token can be derived again from the nonce beside the hash and
// from the client secret, which is not in the database.
func (s *Sandbox) seed(provider string, nonce []byte) [32]byte {
	mac := hmac.New(sha256.New, []byte(s.apps[provider].ClientSecret))
	mac.Write(nonce)
	return [32]byte(mac.Sum(nil))
}

// bearer is a token with its grant.
type bearer struct {
	Grant
	Fresh bool // not expired
}

func (s store) findToken(ctx context.Context, provider, kind, text string) (bearer, bool, error) {
	return oneRow[bearer](ctx, s, "find token", `
		SELECT g.id, g.provider, g.person, g.permissions, g.granted_at,
			t.expires_at IS NULL OR t.expires_at > now() AS fresh
		FROM cairn_sandbox.tokens t
		JOIN cairn_sandbox.grants g ON g.id = t.grant_id
		WHERE t.hash = $1 AND t.kind = $2 AND g.provider = $3`, hashOf(text), kind, provider)
}

// consumeRefresh deletes the refresh token and returns it with its grant.
func (s store) consumeRefresh(ctx context.Context, provider, text string) (bearer, bool, error) {
	return oneRow[bearer](ctx, s, "consume refresh token", `
		DELETE FROM cairn_sandbox.tokens t
		USING cairn_sandbox.grants g
		WHERE t.hash = $1 AND t.kind = 'refresh' AND g.id = t.grant_id AND g.provider = $2
		RETURNING g.id, g.provider, g.person, g.permissions, g.granted_at,
			t.expires_at IS NULL OR t.expires_at > now() AS fresh`, hashOf(text), provider)
}

// findRefresh returns a refresh token with its grant, and leaves it as it is: it does not rotate.
func (s store) findRefresh(ctx context.Context, provider, text string) (bearer, bool, error) {
	return s.findToken(ctx, provider, "refresh", text)
}

// retireRefresh deletes the grant's refresh tokens that are older than t. Of two issued at once, the later stays.
func (s store) retireRefresh(ctx context.Context, g Grant, t token) error {
	_, err := s.pool.Exec(ctx, `
		DELETE FROM cairn_sandbox.tokens WHERE grant_id = $1 AND kind = 'refresh' AND id < $2`, g.ID, t.ID)
	if err != nil {
		return fmt.Errorf("sandbox: retire refresh tokens: %w", err)
	}
	return nil
}

// RevokeGrant deletes a grant with its tokens, as if the person had removed our app at the provider. The provider sends
// an event, if it has one for that.
func (s *Sandbox) RevokeGrant(ctx context.Context, id int64) error {
	g, found, err := oneRow[Grant](ctx, s.store, "revoke grant", `
		DELETE FROM cairn_sandbox.grants WHERE id = $1
		RETURNING id, provider, person, permissions, granted_at`, id)
	if err != nil {
		return err
	}
	if !found {
		return ErrNoGrant
	}
	return providerOf(s, g.Provider).revoked(ctx, g)
}

// revokeByToken revokes the grant of an access or refresh token. An unknown token is no error.
func (s *Sandbox) revokeByToken(ctx context.Context, provider, text string) error {
	for _, kind := range []string{"access", "refresh"} {
		b, found, err := s.findToken(ctx, provider, kind, text)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		if err := s.RevokeGrant(ctx, b.ID); !errors.Is(err, ErrNoGrant) {
			return err
		}
	}
	return nil
}

// ExpireTokens makes the provider's access tokens expire now. Foursquare's never expire, and stay.
func (s store) ExpireTokens(ctx context.Context, provider string) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE cairn_sandbox.tokens t SET expires_at = now()
		FROM cairn_sandbox.grants g
		WHERE g.id = t.grant_id AND g.provider = $1 AND t.kind = 'access' AND t.expires_at > now()`, provider)
	if err != nil {
		return fmt.Errorf("sandbox: expire tokens: %w", err)
	}
	return nil
}

func hashOf(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// randomHex returns a random secret of n bytes in hex.
func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}
