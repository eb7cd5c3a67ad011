package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// Check asks the provider whose account a connection is, and stores the answer. Errors:
// ErrNotFound, ErrReconnect, *Error.
func (s *Store) Check(ctx context.Context, p *Provider, userID int64) error {
	var account Account
	row, err := s.use(ctx, p, userID, func(token string) (err error) {
		account, err = p.whoAmI(ctx, s.caller(p), token)
		return err
	})
	if err != nil {
		return err
	}
	return s.storeAccount(ctx, row, account)
}

// Get asks the provider's API for something of a connection and decodes the JSON answer into out, which may be
// nil. path is below Provider.API. Errors: those of Check; ErrNotPermitted and ErrUnfit, which change nothing about the
// connection.
func (s *Store) Get(ctx context.Context, p *Provider, userID int64, path string, query url.Values, out any) error {
	_, err := s.use(ctx, p, userID, func(token string) error {
		r, err := p.request(path, query, token)
		if err != nil {
			return err
		}
		return s.caller(p).call(ctx, "data", r, out)
	})
	return err
}

// ErrForeign means that an address is not the provider's.
var ErrForeign = errors.New("oauth: not an address of the provider")

// Follow fetches an address that the provider gave us. A stranger may have named it, so the error
// is ErrForeign unless the address is at Provider.API's host, and a refusal is ErrUnfit: it says
// nothing about the connection. The address carries its own proof. Garmin has refused requests that
// had our token too, and also requests that lacked it, so the first request has none (docs/providers.md,
// 3.5).
func (s *Store) Follow(ctx context.Context, p *Provider, userID int64, address string, out any) error {
	if !p.Owns(address) {
		return ErrForeign
	}
	row, err := s.tokenAfter(ctx, p, userID, 0)
	if err != nil {
		return err
	}
	follow := func(token string) error {
		r, err := http.NewRequest(http.MethodGet, address, nil)
		if err != nil {
			return ErrForeign // the cause quotes the address
		}
		if token != "" {
			bearer(r, token)
		}
		return s.caller(p).call(ctx, "data", r, out)
	}
	if err = follow(""); errors.Is(err, ErrRefused) || errors.Is(err, ErrUnfit) {
		err = follow(row.token.AccessToken)
	}
	switch {
	case err == nil:
		return s.recovered(ctx, row)
	case errors.Is(err, ErrRefused):
		return errors.Join(ErrUnfit, err)
	case errors.Is(err, ErrUnfit), errors.Is(err, ErrNotPermitted), ctx.Err() != nil:
		return err
	}
	return s.stumbled(ctx, row, err)
}

// Owns tells whether an address is on the host of the provider's API.
func (p *Provider) Owns(address string) bool {
	api, err := url.Parse(p.API)
	if err != nil {
		return false
	}
	u, err := url.Parse(address)
	return err == nil && u.Scheme == api.Scheme && u.Host == api.Host && u.User == nil && len(address) <= maxAddress
}

const maxAddress = 2048

// use gives call a usable access token, and notes what its result says about the connection. A refused access token is
// refreshed once; a fresh one that is refused too says that consent was taken back.
func (s *Store) use(ctx context.Context, p *Provider, userID int64, call func(token string) error) (stored, error) {
	refused := int64(0)
	for {
		row, err := s.tokenAfter(ctx, p, userID, refused)
		if err != nil {
			return stored{}, err
		}
		if row.retryAt != nil && p.limitsEach {
			return row, &Error{Provider: p.Key, Call: "data", Kind: ErrRateLimited, Until: *row.retryAt, unsent: true}
		}
		err = call(row.token.AccessToken)
		switch {
		case err == nil:
			return row, s.recovered(ctx, row)
		case errors.Is(err, ErrNotPermitted), errors.Is(err, ErrUnfit), ctx.Err() != nil:
			// If the caller has left, the error says nothing about the provider.
			return row, err
		case !errors.Is(err, ErrRefused), refused > 0 && !statusIs(err, http.StatusUnauthorized):
			return row, s.stumbled(ctx, row, err)
		case refused > 0:
			return row, errors.Join(ErrReconnect, err,
				s.move(ctx, row, NeedsReconnect, AccessRefused, http.StatusUnauthorized))
		}
		refused = row.generation
	}
}

// storeAccount keeps what the provider answered. Permissions are kept only where the provider told them here.
func (s *Store) storeAccount(ctx context.Context, row stored, account Account) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE cairn.connections
		SET account_name = $2, picture_url = $3, granted = COALESCE($4, granted), checked_at = now()
		WHERE identity_id = $1`, row.identityID, account.Name, account.PictureURL, account.Granted)
	if err != nil {
		return fmt.Errorf("oauth: store account of identity %d: %w", row.identityID, err)
	}
	return nil
}

// request makes a GET of the provider's API, with an access token where the provider wants it.
func (p *Provider) request(path string, query url.Values, accessToken string) (*http.Request, error) {
	r, err := http.NewRequest(http.MethodGet, p.API+path, nil)
	if err != nil {
		return nil, err
	}
	if query == nil {
		query = url.Values{}
	}
	if p.authorize == nil {
		bearer(r, accessToken)
	} else {
		p.authorize(query, accessToken)
	}
	r.URL.RawQuery = query.Encode()
	return r, nil
}
