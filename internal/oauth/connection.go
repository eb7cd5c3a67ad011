package oauth

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/oauth2"

	"cairn/db"
	"cairn/internal/seal"
)

// Enqueuer enqueues background work in the transaction that makes it necessary.
type Enqueuer interface {
	// EnqueueRevocation enqueues Store.Withdraw.
	EnqueueRevocation(ctx context.Context, tx pgx.Tx, provider string, withdrawalID int64) error
	// EnqueueFetch enqueues a fetch of the newest entries of an account that is connected in tx.
	EnqueueFetch(ctx context.Context, tx pgx.Tx, provider, subject string) error
	// EnqueueCheck enqueues a check of an account, to be made after so long if the account is connected then.
	EnqueueCheck(ctx context.Context, tx pgx.Tx, provider, subject string, after time.Duration) error
}

// Options are what a store may be given.
type Options struct {
	Limits
	// Queue is where background work goes. nil: a withdrawal waits until somebody asks for those that are
	// Pending.
	Queue Enqueuer
	// Observe, if it is not nil, is called after every call to a provider. call is as in Error.Call; result
	// is "ok", "refused", "not_permitted", "rate_limited" or "unavailable".
	Observe func(provider, call, result string, took time.Duration)
}

// Store holds the attempts and connections of all people. Make it with New.
type Store struct {
	pool    *pgxpool.Pool
	sealer  *seal.Sealer
	client  *http.Client
	gates   sync.Map // of gate, by provider
	limits  Limits
	queue   Enqueuer // may be nil
	observe func(provider, call, result string, took time.Duration)
}

// New returns the store in a database. Tokens rest there sealed.
func New(pool *pgxpool.Pool, sealer *seal.Sealer, o Options) *Store {
	limits := o.withDefaults()
	return &Store{
		pool: pool, sealer: sealer, client: newClient(limits.Call),
		limits: limits, queue: o.Queue, observe: o.Observe,
	}
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
	RetryAt   time.Time // when the provider may be asked again; zero if it may be now, or if that is not known
	Since     time.Time
	CheckedAt time.Time // when the provider last gave a real answer
}

// Connect stores what an attempt yielded, as the connection of an identity that the transaction has
// found or made and holds (auth.Link, auth.FindOrCreate). A connection to the same account is renewed and
// keeps its beginning. Errors: ErrOtherAccount when the user has another account of this provider
// connected, after which the transaction can go on.
func (s *Store) Connect(ctx context.Context, tx pgx.Tx, g Grant, userID, identityID int64) error {
	return pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
		sealed, err := s.sealTokens(g.token, place(identityID, userID, g.Provider.Key))
		if err != nil {
			return err
		}
		if err := forgetWithdrawals(ctx, tx, g.Provider.Key, g.Subject); err != nil {
			return err
		}
		cause, err := storeConnection(ctx, tx, g, userID, identityID, sealed)
		if err != nil {
			return err
		}
		if err := tell(ctx, tx, userID, g.Provider.Key, Active, cause); err != nil || s.queue == nil {
			return err
		}
		return s.queue.EnqueueFetch(ctx, tx, g.Provider.Key, g.Subject)
	})
}

func storeConnection(
	ctx context.Context, tx pgx.Tx, g Grant, userID, identityID int64, sealed []byte,
) (cause Cause, err error) {
	granted := g.Granted
	if granted == nil {
		granted = []string{}
	}
	err = tx.QueryRow(ctx, `
		INSERT INTO cairn.connections AS c
			(identity_id, user_id, provider, account_name, picture_url, granted, sealed_tokens, token_expires_at, cause)
		VALUES ($1, $2, $3, $4, $5, $6, $7, now() + $8::interval, 'connected')
		ON CONFLICT (identity_id) DO UPDATE SET
			account_name = EXCLUDED.account_name, picture_url = EXCLUDED.picture_url, granted = EXCLUDED.granted,
			sealed_tokens = EXCLUDED.sealed_tokens, token_expires_at = EXCLUDED.token_expires_at,
			state = 'active', cause = 'reconnected', state_since = now(), checked_at = now(),
			generation = c.generation + 1, tokens_at = now(),
			refresh_lease = NULL, refresh_lease_until = NULL, retry_at = NULL
		RETURNING cause`,
		identityID, userID, g.Provider.Key, g.Name, g.PictureURL, granted, sealed, lifeOf(g.token)).Scan(&cause)
	if db.Violates(err, "connections_user_id_provider") {
		return "", ErrOtherAccount
	}
	if err != nil {
		return "", fmt.Errorf("oauth: store connection to %s: %w", g.Provider.Key, err)
	}
	return cause, nil
}

func (s *Store) caller(p *Provider) *caller {
	return &caller{provider: p, client: s.client, heard: s.observe, gate: s.gate(p.Key), pool: s.pool, limits: s.limits}
}

// tokens is what is sealed.
type tokens struct {
	Access  string `json:"access"`
	Refresh string `json:"refresh,omitempty"`
}

func (s *Store) sealTokens(t *oauth2.Token, place string) ([]byte, error) {
	plain, err := json.Marshal(tokens{Access: t.AccessToken, Refresh: t.RefreshToken})
	if err != nil {
		return nil, fmt.Errorf("oauth: encode tokens: %w", err)
	}
	return s.sealer.Seal(plain, place), nil
}

func (s *Store) openTokens(sealed []byte, place string) (*oauth2.Token, error) {
	plain, err := s.sealer.Open(sealed, place)
	if err != nil {
		return nil, fmt.Errorf("oauth: open %s: %w", place, err)
	}
	var t tokens
	if err := json.Unmarshal(plain, &t); err != nil {
		return nil, fmt.Errorf("oauth: decode %s", place) // the cause quotes the text
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
