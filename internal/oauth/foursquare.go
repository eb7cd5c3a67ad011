package oauth

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"cairn/internal/text"
)

// foursquareVersion is the day whose API behaviour we were written for; Foursquare wants a fixed one, not today's.
const foursquareVersion = "20260901"

// Foursquare is OAuth 2 with a secret, but without scopes, PKCE, refresh tokens and expiry. No call
// revokes a token: people remove the app at Foursquare.
func Foursquare(app App) *Provider {
	return newProvider(Provider{
		Key: "foursquare", Name: "Foursquare", ManageURL: "https://foursquare.com/settings/connections",
		Hosts: "https://*.foursquare.com", PictureHosts: []string{"*.4sqi.net"},
		Permissions: []Permission{{Key: "account", Words: "See your profile and your check-ins"}},
		authorize:   foursquareQuery, whoAmI: foursquareSelf, limitsEach: true,
	}, app, Endpoints{
		Authorize: "https://foursquare.com/oauth2/authenticate",
		Token:     "https://foursquare.com/oauth2/access_token",
		API:       "https://api.foursquare.com/v2",
	})
}

func foursquareSelf(ctx context.Context, c *caller, accessToken string) (Account, error) {
	r, err := c.provider.request("/users/self", nil, accessToken)
	if err != nil {
		return Account{}, err
	}
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
	if err := c.call(ctx, "who-am-I", r, &answer); err != nil {
		return Account{}, err
	}
	user := answer.Response.User
	if user.ID == "" {
		return Account{}, c.fail("who-am-I", ErrUnavailable, http.StatusOK, "")
	}
	account := Account{
		Subject: string(user.ID),
		Name:    personName(user.FirstName, user.LastName),
		Granted: []string{"account"},
	}
	if user.Photo.Prefix != "" {
		account.PictureURL = c.provider.link(user.Photo.Prefix + "300x300" + user.Photo.Suffix)
	}
	return account, nil
}

func foursquareQuery(query url.Values, accessToken string) {
	query.Set("v", foursquareVersion)
	query.Set("oauth_token", accessToken)
}

// foursquareCode reads the kind of an error from the envelope: a 403 is a rate limit only if it says so.
func foursquareCode(body []byte) string {
	var answer struct{ Meta struct{ ErrorType string } }
	if json.Unmarshal(body, &answer) != nil {
		return ""
	}
	return knownCode(answer.Meta.ErrorType)
}
