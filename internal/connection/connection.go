// Package connection keeps people's connections to providers, and their sealed tokens.
//
//	connection.go  storing a connection, and sealing its tokens
//	state.go       the state of a connection, its cause and its history
//	token.go       a usable access token; the one way to refresh (oauth/client.go says what a failure means)
//	call.go        calls about a connection, and what their answers say about it
//	overview.go    what people see of their connections
//	picture.go     our copies of the pictures of connected accounts
//	mirror.go      tokens that another server has, too
//	import.go      connections that come from another server
//	export.go      what is in the archive that a person downloads
//	idle.go        tokens that would expire unused, and refreshes that were cut off
//	jobs.go        background jobs: revoking, refreshing idle tokens, fetching pictures
//	disconnect.go  disconnecting: a connection becomes a revocation
//	revocation.go  revoking tokens at the provider until it confirms
//	limits.go      time limits that follow from those of a call
//
// The instance that holds a connection's lease refreshes its tokens. It gets the lease only if they are still the
// ones it has read, and stores the new pair, fenced by the lease, before anyone uses it. If the database can't be
// reached at that moment, it tries again until the lease runs out. Others wait for as long as a call can take, and
// share a failure. No database connection is held during a call to a provider.
package connection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/oauth2"

	"cairn/db"
	"cairn/internal/auth"
	"cairn/internal/avatar"
	"cairn/internal/oauth"
	"cairn/internal/seal"
	"cairn/internal/sealed"
)

// Errors.
var (
	ErrNotFound     = errors.New("connection: no such connection")
	ErrReconnect    = errors.New("connection: its owner has to connect again")
	ErrHeld         = errors.New("connection: another call for it is under way")
	ErrOtherAccount = errors.New("connection: another account of this provider is connected")
)

// Deps are what a store needs.
type Deps struct {
	Pool      *pgxpool.Pool
	Sealer    *seal.Sealer // seals the tokens in the database
	Client    *oauth.Client
	Providers oauth.Registry
	Accounts  *auth.Accounts // nil: owners read on pages alone what they have to do
	Mirror    Mirror         // nil: no other server has the tokens, too
	Queue     Queue          // nil: nothing is enqueued, and a revocation waits for the next Reconcile
	Syncs     Syncs          // nil if Queue is

	// Only jobs use Pictures and Log.
	Pictures *avatar.Fetcher
	Log      *slog.Logger
}

// Store holds the connections of all people. Make it with New.
type Store struct {
	pool      *pgxpool.Pool
	sealer    *seal.Sealer
	client    *oauth.Client
	providers oauth.Registry
	limits    limits
	accounts  *auth.Accounts // may be nil
	mirror    Mirror         // may be nil
	queue     Queue          // may be nil
	syncs     Syncs
	pictures  *avatar.Fetcher
	log       *slog.Logger
}

// New returns the store in a database.
func New(d Deps) *Store {
	return &Store{
		pool: d.Pool, sealer: d.Sealer, client: d.Client, providers: d.Providers, limits: limits{d.Client.Limits()},
		accounts: d.Accounts, mirror: d.Mirror, queue: d.Queue, syncs: d.Syncs, pictures: d.Pictures, log: d.Log,
	}
}

// Begin begins an attempt to connect a provider to a user's account, and returns the address of the consent page.
// The user's revocations at this provider wait until the attempt is over. Errors: *oauth.Error.
func (s *Store) Begin(
	ctx context.Context, p *oauth.Provider, owner oauth.Owner, returnPath string,
) (consent string, err error) {
	consent, err = s.client.Begin(ctx, p, owner, returnPath)
	if err == nil {
		err = s.holdRevocations(ctx, p, owner.UserID)
	}
	return consent, err
}

// Connection is an account at a provider that a user has connected, as of the provider's last usable answer.
type Connection struct {
	IdentityID int64
	UserID     int64
	Provider   string
	oauth.Account
	State     State
	Cause     Cause
	InState   time.Time // since when
	RetryAt   time.Time // no call is made before; zero if one may be made now, or if the time is not known
	Since     time.Time
	CheckedAt time.Time // when the provider last gave a usable answer
}

// Connect stores the result of an exchange as the connection of an identity that the transaction has found or created,
// and has locked (auth.Link, auth.FindOrCreate). If the account is connected already, its connection is renewed and
// keeps its Since. Errors: ErrOtherAccount if the user has connected another account of this provider; the transaction
// can go on after it.
func (s *Store) Connect(ctx context.Context, tx pgx.Tx, g oauth.Grant, userID, identityID int64) error {
	return pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
		sealed, err := s.sealTokens(g.Token, associatedData(identityID, userID, g.Provider.Key))
		if err != nil {
			return err
		}
		if err := dropRevocations(ctx, tx, g.Provider.Key, g.Subject); err != nil {
			return err
		}
		cause, err := storeConnection(ctx, tx, g, userID, identityID, sealed)
		if err != nil {
			return err
		}
		if err := record(ctx, tx, userID, g.Provider.Key, Active, cause); err != nil {
			return err
		}
		return s.enqueueFetches(ctx, tx, g.Provider.Key, g.Subject)
	})
}

func storeConnection(
	ctx context.Context, tx pgx.Tx, g oauth.Grant, userID, identityID int64, sealed []byte,
) (cause Cause, err error) {
	granted := g.Granted
	if granted == nil {
		granted = []string{}
	}
	// A generation is never used again, not even after disconnecting: a call that began before must not be taken for
	// one about the new connection. So the first is the time.
	err = tx.QueryRow(ctx, `
		INSERT INTO cairn.connections AS c
			(identity_id, user_id, provider, subject, account_name, picture_url, granted,
			 sealed_tokens, token_expires_at, cause, generation)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now() + $9::interval, 'connected',
		        (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
		ON CONFLICT (identity_id) DO UPDATE SET
			account_name = EXCLUDED.account_name, picture_url = EXCLUDED.picture_url, granted = EXCLUDED.granted,
			sealed_tokens = EXCLUDED.sealed_tokens, token_expires_at = EXCLUDED.token_expires_at,
			state = 'active', cause = 'reconnected', state_since = now(), checked_at = now(),
			generation = c.generation + 1, tokens_at = now(),
			refresh_lease = NULL, refresh_lease_until = NULL, retry_at = NULL
		RETURNING cause`,
		identityID, userID, g.Provider.Key, g.Subject, g.Name, g.PictureURL, granted, sealed, lifeOf(g.Token)).
		Scan(&cause)
	if db.Violates(err, "connections_user_id_provider") {
		return "", ErrOtherAccount
	}
	if err != nil {
		return "", fmt.Errorf("connection: store connection to %s: %w", g.Provider.Key, err)
	}
	return cause, nil
}

// tokens are what is sealed.
type tokens struct {
	Access  string `json:"access"`
	Refresh string `json:"refresh,omitempty"`
}

func (s *Store) sealTokens(t *oauth2.Token, data string) ([]byte, error) {
	plain, err := json.Marshal(tokens{Access: t.AccessToken, Refresh: t.RefreshToken})
	if err != nil {
		return nil, fmt.Errorf("connection: encode tokens: %w", err)
	}
	return s.sealer.Seal(plain, data), nil
}

func (s *Store) openTokens(sealed []byte, data string) (*oauth2.Token, error) {
	plain, err := s.sealer.Open(sealed, data)
	if err != nil {
		return nil, fmt.Errorf("connection: open %s: %w", data, err)
	}
	var t tokens
	if err := json.Unmarshal(plain, &t); err != nil {
		return nil, fmt.Errorf("connection: decode %s", data) // the cause quotes the text
	}
	return &oauth2.Token{AccessToken: t.Access, RefreshToken: t.Refresh}, nil
}

// SealedColumns are the columns with sealed tokens, of connections and of revocations. Their associated data is that of
// associatedData and revocationData.
func SealedColumns() []sealed.Column {
	return []sealed.Column{
		{Table: "cairn.connections", Value: "sealed_tokens", ID: "identity_id",
			Data: `format('cairn.connections/sealed_tokens/%s/%s/%s', identity_id, user_id, provider)`},
		{Table: "cairn.withdrawals", Value: "sealed_tokens", ID: "id",
			Data: `format('cairn.withdrawals/sealed_tokens/%s/%s', provider, subject)`},
	}
}

// associatedData binds sealed tokens to their table, column, row, user and provider.
func associatedData(identityID, userID int64, provider string) string {
	return fmt.Sprintf("cairn.connections/sealed_tokens/%d/%d/%s", identityID, userID, provider)
}

// lifeOf returns how long an access token is valid from now on; nil: for ever. The database adds it to its own clock.
func lifeOf(t *oauth2.Token) *time.Duration {
	if t.Expiry.IsZero() {
		return nil
	}
	return new(time.Until(t.Expiry))
}
