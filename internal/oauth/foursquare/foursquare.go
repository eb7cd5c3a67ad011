// Package foursquare has everything about Foursquare: addresses, permissions, errors, webhooks, check-ins.
// docs/providers.md, section 4, says how Foursquare behaves.
//
//	foursquare.go  the description, whose account it is, errors
//	checkins.go    the newest check-ins
//	webhook.go     pushes of check-ins
package foursquare

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"cairn/internal/oauth"
	"cairn/internal/text"
)

// Key names Foursquare in routes and in the database.
const Key = "foursquare"

// apiVersion is the day of the API version that we were written for. Foursquare wants a fixed day, not today's.
const apiVersion = "20260901"

// keep is how long what is a person's is kept: no longer than at the other providers (docs/providers.md, 4.8).
const keep = 7 * 24 * time.Hour

// New describes Foursquare: OAuth 2 with a secret, but without scopes, PKCE, refresh tokens and expiry. No call
// revokes a token: people remove the app at Foursquare.
func New(app oauth.App) *oauth.Provider {
	return oauth.Provider{
		Key: Key, Name: "Foursquare", OtherNames: []string{"Swarm"},
		ManageURL:   "https://foursquare.com/settings/connections",
		Offer:       "Lets Cairn see your profile and your check-ins.",
		Attribution: "Places by Foursquare",
		Hosts:       "https://*.foursquare.com", PictureHosts: []string{"*.4sqi.net"}, KeepPictures: keep,
		Permissions: []oauth.Permission{{Key: "account", Words: "See your profile and your check-ins"}},
		Authorize:   authorize,
		APIError:    apiError,
		Adapter:     adapter{},
	}.For(app, oauth.Endpoints{
		Authorize: "https://foursquare.com/oauth2/authenticate",
		Token:     "https://foursquare.com/oauth2/access_token",
		API:       "https://api.foursquare.com/v2",
	})
}

type adapter struct{}

// UserInfo implements oauth.Adapter.
func (adapter) UserInfo(ctx context.Context, c *oauth.Caller, accessToken string) (oauth.Account, error) {
	var answer struct {
		Meta     struct{ Code int }
		Response struct {
			User struct {
				ID                  text.ID
				FirstName, LastName string
				Photo               struct{ Prefix, Suffix string }
			}
		}
	}
	if err := c.Get(ctx, "userinfo", "/users/self", nil, accessToken, &answer); err != nil {
		return oauth.Account{}, err
	}
	user := answer.Response.User
	if user.ID == "" {
		return oauth.Account{}, c.Fail("userinfo", oauth.ErrUnavailable, http.StatusOK, "")
	}
	account := oauth.Account{
		Subject: string(user.ID),
		Name:    oauth.PersonName(user.FirstName, user.LastName),
		Granted: []string{"account"},
	}
	if user.Photo.Prefix != "" {
		account.PictureURL = c.Link(user.Photo.Prefix + "300x300" + user.Photo.Suffix)
	}
	return account, nil
}

func authorize(query url.Values, accessToken string) {
	query.Set("v", apiVersion)
	query.Set("oauth_token", accessToken)
}

// apiError reads the kind of an error from the envelope: a 403 is a rate limit only if it says so. The limit is on the
// calls for one person; only the day's quota is on our application.
func apiError(_ string, status int, body []byte) (code string, kind error) {
	var answer struct{ Meta struct{ ErrorType string } }
	_ = json.Unmarshal(body, &answer)
	switch code = answer.Meta.ErrorType; code {
	case "quota_exceeded":
		return code, oauth.ErrRateLimited
	case "rate_limit_exceeded":
		return code, oauth.ErrPersonLimited
	case "invalid_auth", "param_error", "endpoint_error", "not_authorized", "server_error", "deprecated":
	default:
		code = ""
	}
	if status == http.StatusTooManyRequests {
		return code, oauth.ErrPersonLimited
	}
	return code, nil
}
