package node

import (
	"encoding/json"
	"errors"
	"regexp"
	"time"

	"golang.org/x/oauth2"
)

// errNoToken says that a value opens, and is no token.
var errNoToken = errors.New("node: not a token")

// tokenShape is what access and refresh tokens look like (RFC 6750, section 2.1, and RFC 6749, appendix A.17, without
// spaces). JSON and words like "null" are left out.
var tokenShape = regexp.MustCompile(`^[A-Za-z0-9._~+/=-]+$`)

func isToken(text string) bool {
	return len(text) >= 6 && len(text) <= 4096 && text != "undefined" && tokenShape.MatchString(text)
}

// foursquareToken opens the access token of Foursquare, which never expires. Errors: errSealed, errNoToken.
func (k keys) foursquareToken(sealed string) (*oauth2.Token, error) {
	plain, err := k.open(sealed)
	switch {
	case err != nil:
		return nil, err
	case !isToken(string(plain)):
		return nil, errNoToken
	}
	return &oauth2.Token{AccessToken: string(plain)}, nil
}

// stravaToken opens Strava's tokens. Errors: errSealed, errNoToken.
func (k keys) stravaToken(sealed string) (*oauth2.Token, error) {
	plain, err := k.open(sealed)
	if err != nil {
		return nil, err
	}
	var t struct {
		AccessToken, RefreshToken string
		ExpiresAt                 int64 // seconds since 1970
	}
	if json.Unmarshal(plain, &t) != nil || !isToken(t.AccessToken) || !isToken(t.RefreshToken) ||
		t.ExpiresAt < 0 || t.ExpiresAt > maxExpiry {
		return nil, errNoToken
	}
	// Without an expiry the token would count as good for ever, so it counts as expired.
	expiry := time.Unix(t.ExpiresAt, 0)
	return &oauth2.Token{AccessToken: t.AccessToken, RefreshToken: t.RefreshToken, Expiry: expiry}, nil
}

// maxExpiry is the year 3000: PostgreSQL stores no time at all after some more.
const maxExpiry = 32503680000
