package connection

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"cairn/internal/oauth"
)

// Check asks the provider whose account a connection is, and stores the answer. Errors: ErrNotFound, ErrReconnect,
// *oauth.Error.
func (s *Store) Check(ctx context.Context, p *oauth.Provider, userID int64) error {
	var account oauth.Account
	row, err := s.call(ctx, p, userID, func(c *oauth.Caller, accessToken string) (err error) {
		account, err = p.UserInfo(ctx, c, accessToken)
		return err
	})
	if err != nil {
		return err
	}
	return s.storeAccount(ctx, row, account)
}

// API makes calls about one connection.
type API struct {
	store    *Store
	provider *oauth.Provider
	userID   int64
}

// API returns the API for a user's connection.
func (s *Store) API(p *oauth.Provider, userID int64) API { return API{s, p, userID} }

// Provider is the connection's provider.
func (a API) Provider() *oauth.Provider { return a.provider }

// Get reads a path below Provider.API and decodes the JSON answer into out, which may be nil. Errors: those of Call.
func (a API) Get(ctx context.Context, path string, query url.Values, out any) error {
	return a.Call(ctx, func(c *oauth.Caller, accessToken string) error {
		return c.Get(ctx, "data", path, query, accessToken, out)
	})
}

// Call calls call with a usable access token, and once more if that token is refused. Errors: those of call;
// ErrNotFound, ErrReconnect. oauth.ErrNotPermitted and oauth.ErrNotServed change nothing about the connection.
func (a API) Call(ctx context.Context, call func(c *oauth.Caller, accessToken string) error) error {
	_, err := a.store.call(ctx, a.provider, a.userID, call)
	return err
}

// call calls call with a usable access token, and records what the result says about the connection. A refused token
// is refreshed once. If the new one is refused too, the person has removed our access.
func (s *Store) call(
	ctx context.Context, p *oauth.Provider, userID int64, call func(c *oauth.Caller, accessToken string) error,
) (stored, error) {
	refused := int64(0)
	for {
		row, err := s.tokenAfter(ctx, p, userID, refused)
		if err != nil {
			return stored{}, err
		}
		if row.retryAt != nil {
			return row, row.tooSoon(p, "data")
		}
		err = call(s.client.At(p), row.token.AccessToken)
		switch {
		case err == nil:
			return row, s.markHealthy(ctx, row)
		case errors.Is(err, oauth.ErrNotPermitted), errors.Is(err, oauth.ErrNotServed), ctx.Err() != nil:
			// If the caller has left, the error says nothing about the provider.
			return row, err
		case !errors.Is(err, oauth.ErrRefused), refused > 0 && !oauth.StatusIs(err, http.StatusUnauthorized):
			return row, s.markFailed(ctx, row, err)
		case refused > 0:
			return row, errors.Join(ErrReconnect, err,
				s.setState(ctx, row, NeedsReconnect, AccessRefused, http.StatusUnauthorized))
		}
		refused = row.generation
	}
}

// storeAccount stores what the provider answered, unless the tokens have changed since: then a newer answer may be
// stored already. It stores permissions only if this provider's answer names them.
func (s *Store) storeAccount(ctx context.Context, row stored, account oauth.Account) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE cairn.connections
		SET account_name = $3, picture_url = $4, granted = COALESCE($5, granted), checked_at = now()
		WHERE identity_id = $1 AND generation = $2`,
		row.identityID, row.generation, account.Name, account.PictureURL, account.Granted)
	if err != nil {
		return fmt.Errorf("connection: store account of identity %d: %w", row.identityID, err)
	}
	return nil
}
