package strava

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/oauth2"

	"cairn/internal/connection"
	"cairn/internal/oauth"
)

var _ connection.Revoker = adapter{}

// Revoke implements connection.Revoker. It uses the revocation address that Strava has had since June 2026. If that is
// missing, it uses the older one, which Strava retires in June 2027.
func (adapter) Revoke(ctx context.Context, c *oauth.Caller, t *oauth2.Token, access connection.Access) error {
	err := revoke(ctx, c, cmp.Or(t.RefreshToken, t.AccessToken))
	if !oauth.StatusIs(err, http.StatusNotFound) && !oauth.StatusIs(err, http.StatusMethodNotAllowed) {
		return err
	}
	accessToken, err := access(ctx)
	if err != nil {
		return err
	}
	address := strings.TrimSuffix(c.Provider.Revoke, "/revoke") + "/deauthorize"
	r, err := http.NewRequest(http.MethodPost, address, nil)
	if err != nil {
		return err
	}
	return c.Call(ctx, "revoke", oauth.Bearer(r, accessToken), nil)
}

func revoke(ctx context.Context, c *oauth.Caller, token string) error {
	form := url.Values{"token": {token}}
	r, err := http.NewRequest(http.MethodPost, c.Provider.Revoke, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(c.Config.ClientID), url.QueryEscape(c.Config.ClientSecret))
	return c.Call(ctx, "revoke", r, nil)
}
