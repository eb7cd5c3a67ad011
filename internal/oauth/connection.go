package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/oauth2"

	"cairn/internal/seal"
)

// Store holds the attempts and connections of all people. Make it with New.
type Store struct {
	// Observe, if it is set before the first use, hears of every call to a provider that is over. call is as in Error.Call,
	// result is "ok", "refused", "rate_limited" or "unavailable".
	Observe func(provider, call, result string, took time.Duration)

	pool   *pgxpool.Pool
	sealer *seal.Sealer
	client *http.Client
}

// New returns the store in a database. Tokens rest there sealed.
func New(pool *pgxpool.Pool, sealer *seal.Sealer) *Store {
	return &Store{pool: pool, sealer: sealer, client: newClient()}
}

// Connection is a provider account somebody connected, as its last real answer left it.
type Connection struct {
	IdentityID int64
	UserID     int64
	Provider   string
	Account
	State     State
	Cause     Cause
	InState   time.Time // since when
	Since     time.Time
	CheckedAt time.Time // when the provider last gave a real answer
}

// List returns a person's connections by provider.
func (s *Store) List(ctx context.Context, userID int64) (map[string]Connection, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT c.identity_id, c.user_id, c.provider, i.subject, c.account_name, c.picture_url, c.granted, c.state,
		       c.cause, c.state_since, c.connected_at, c.checked_at
		FROM cairn.connections c
		JOIN cairn.identities i ON i.id = c.identity_id
		WHERE c.user_id = $1`, userID)
	if err != nil {
		return nil, fmt.Errorf("oauth: list connections of user %d: %w", userID, err)
	}
	connections := map[string]Connection{}
	var c Connection
	_, err = pgx.ForEachRow(rows, []any{&c.IdentityID, &c.UserID, &c.Provider, &c.Subject, &c.Name, &c.PictureURL, &c.Granted, &c.State,
		&c.Cause, &c.InState, &c.Since, &c.CheckedAt}, func() error {
		connections[c.Provider] = c
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("oauth: list connections of user %d: %w", userID, err)
	}
	return connections, nil
}

// Connect stores what an attempt yielded. own decides, in the same transaction, whose it is. A connection to the same
// account is renewed and keeps its beginning. Errors: own's; ErrOtherAccount when the person has another account of this
// provider connected.
func (s *Store) Connect(ctx context.Context, g Grant, own func(tx pgx.Tx) (userID, identityID int64, err error)) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		userID, identityID, err := own(tx)
		if err != nil {
			return err
		}
		sealed, err := s.sealTokens(g.token, identityID, userID, g.Provider.Key)
		if err != nil {
			return err
		}
		granted := g.Granted
		if granted == nil {
			granted = []string{}
		}
		var anew bool
		err = tx.QueryRow(ctx, `
			INSERT INTO cairn.connections AS c
				(identity_id, user_id, provider, account_name, picture_url, granted, sealed_tokens, token_expires_at, cause)
			VALUES ($1, $2, $3, $4, $5, $6, $7, now() + $8::interval, 'connected')
			ON CONFLICT (identity_id) DO UPDATE SET
				account_name = EXCLUDED.account_name, picture_url = EXCLUDED.picture_url, granted = EXCLUDED.granted,
				sealed_tokens = EXCLUDED.sealed_tokens, token_expires_at = EXCLUDED.token_expires_at,
				state = 'active', cause = 'reconnected', state_since = now(), checked_at = now(), generation = c.generation + 1,
				refresh_lease = NULL, refresh_lease_until = NULL
			RETURNING generation > 1`,
			identityID, userID, g.Provider.Key, g.Name, g.PictureURL, granted, sealed, lifeOf(g.token)).Scan(&anew)
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.ConstraintName == "connections_user_id_provider" {
			return ErrOtherAccount
		}
		if err != nil {
			return fmt.Errorf("oauth: store connection to %s: %w", g.Provider.Key, err)
		}
		cause := Connected
		if anew {
			cause = Reconnected
		}
		return tell(ctx, tx, userID, g.Provider.Key, Active, cause)
	})
}

// Disconnect forgets a connection and its tokens, and only then tells the provider: ours are gone even if it is down.
// told reports whether the provider confirmed. Errors: ErrNotFound.
func (s *Store) Disconnect(ctx context.Context, p *Provider, userID int64) (told bool, err error) {
	token, err := s.Forget(ctx, s.pool, p, userID, 0)
	if err != nil {
		return false, err
	}
	return s.Withdraw(ctx, p, token), nil
}

// rowQuerier is what Forget needs; a pool and a transaction both have it.
type rowQuerier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Forget deletes a person's connection at a provider and returns its tokens for Withdraw; with an identityID other than 0
// only if it hangs on that identity. Errors: ErrNotFound.
func (s *Store) Forget(ctx context.Context, db rowQuerier, p *Provider, userID, identityID int64) (*oauth2.Token, error) {
	var sealed []byte
	var left *float64
	err := db.QueryRow(ctx, `
		WITH gone AS (
			DELETE FROM cairn.connections WHERE user_id = $1 AND provider = $2 AND $3::bigint IN (0, identity_id)
			RETURNING identity_id, sealed_tokens, EXTRACT(epoch FROM token_expires_at - now())::float8 AS life
		), noted AS (
			INSERT INTO cairn.connection_events (user_id, provider, state, cause, reference)
			SELECT $1, $2, 'ended', 'disconnected', $4 FROM gone
		)
		SELECT identity_id, sealed_tokens, life FROM gone`,
		userID, p.Key, identityID, reference(ctx)).Scan(&identityID, &sealed, &left)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("oauth: forget connection to %s: %w", p.Key, err)
	}
	token, err := s.openTokens(sealed, identityID, userID, p.Key)
	if err != nil { // it can't be told, but it is gone, which is what was asked for
		return &oauth2.Token{}, nil
	}
	if left != nil {
		token.Expiry = time.Now().Add(time.Duration(*left * float64(time.Second)))
	}
	return token, nil
}

// Withdraw tells the provider that its tokens are not wanted any more and reports whether it confirmed. It goes on when
// the browser leaves, within the time of one call or two.
func (s *Store) Withdraw(ctx context.Context, p *Provider, token *oauth2.Token) bool {
	if p.revoke == nil || token.AccessToken == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	return p.revoke(ctx, s.caller(p), token) == nil
}

func (s *Store) caller(p *Provider) *caller {
	return &caller{provider: p, client: s.client, heard: s.Observe}
}

// tokens is what is sealed.
type tokens struct {
	Access  string `json:"access"`
	Refresh string `json:"refresh,omitempty"`
}

func (s *Store) sealTokens(t *oauth2.Token, identityID, userID int64, provider string) ([]byte, error) {
	plain, err := json.Marshal(tokens{Access: t.AccessToken, Refresh: t.RefreshToken})
	if err != nil {
		return nil, fmt.Errorf("oauth: encode tokens: %w", err)
	}
	return s.sealer.Seal(plain, place(identityID, userID, provider)), nil
}

func (s *Store) openTokens(sealed []byte, identityID, userID int64, provider string) (*oauth2.Token, error) {
	plain, err := s.sealer.Open(sealed, place(identityID, userID, provider))
	if err != nil {
		return nil, fmt.Errorf("oauth: open tokens of identity %d: %w", identityID, err)
	}
	var t tokens
	if err := json.Unmarshal(plain, &t); err != nil {
		return nil, fmt.Errorf("oauth: decode tokens of identity %d", identityID)
	}
	return &oauth2.Token{AccessToken: t.Access, RefreshToken: t.Refresh}, nil
}

// place binds sealed tokens to their table, column, row, user and provider.
func place(identityID, userID int64, provider string) string {
	return fmt.Sprintf("cairn.connections/sealed_tokens/%d/%d/%s", identityID, userID, provider)
}

// lifeOf is how long an access token lives from now, or nil for ever. The database adds it to its own clock.
func lifeOf(t *oauth2.Token) *time.Duration {
	if t.Expiry.IsZero() {
		return nil
	}
	return new(time.Until(t.Expiry))
}
