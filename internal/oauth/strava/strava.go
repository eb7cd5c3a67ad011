// Package strava has everything about Strava: addresses, permissions, errors, revocation, webhooks, activities.
// docs/providers.md, section 2, says how Strava behaves.
//
//	strava.go        the description, and what its errors mean
//	account.go       whose account it is, and what is granted
//	revoke.go        revocation
//	ratelimit.go     the quota, which is in each answer
//	activities.go    the newest activities
//	webhook.go       events about activities and athletes
//	subscription.go  subscribing to them
package strava

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"cairn/internal/oauth"
)

// Key names Strava in routes and in the database.
const Key = "strava"

// keep is how long Strava lets us keep what is a person's (docs/providers.md, 2.10).
const keep = 7 * 24 * time.Hour

// New describes Strava: OAuth 2 with a secret and without PKCE. People may untick scopes, and the callback says which
// were granted. Scopes are sent as one string with commas: x/oauth2 would join them with spaces, which Strava has
// misread.
func New(app oauth.App) *oauth.Provider {
	return oauth.Provider{
		Key: Key, Name: "Strava", ManageURL: "https://www.strava.com/settings/apps",
		Offer:       "Lets Cairn see your profile and your activities. You choose at Strava which.",
		Button:      "Connect with Strava",
		Attribution: "Powered by Strava",
		Config:      oauth2.Config{Scopes: []string{"read,activity:read_all"}},
		Permissions: []oauth.Permission{
			{Key: "read", Words: "See your public profile"},
			{Key: "activity:read", Words: "See your activities, except those only you can see"},
			{Key: "activity:read_all", Words: "See your activities, including those only you can see", Needed: true},
		},
		RefreshEarly: time.Minute, AssumedLife: 6 * time.Hour,
		PictureHosts: []string{"dgalywyr863hv.cloudfront.net", "lh3.googleusercontent.com"}, KeepPictures: keep,
		RegistersDomain: true, Deadlines: deadlines(),
		AuthParams: []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("approval_prompt", "auto")},
		APIError:   apiError,
		TokenError: tokenError,
		RateLimit:  rateLimit,
		AccountOf:  athleteIn,
		GrantedOf:  scopesIn,
		Adapter:    adapter{},
	}.For(app, oauth.Endpoints{
		Authorize: "https://www.strava.com/oauth/authorize",
		Token:     "https://www.strava.com/oauth/token",
		API:       "https://www.strava.com/api/v3",
		Revoke:    "https://www.strava.com/oauth/revoke",
	})
}

// deadlines are those of June 2027 (docs/providers.md, 2.10).
func deadlines() []oauth.Deadline {
	june := time.Date(2027, time.June, 1, 0, 0, 0, 0, time.UTC)
	return []oauth.Deadline{
		{Day: june, Words: "Strava takes tokens in a header only. Cairn sends them there"},
		{Day: june, Words: "Strava closes /oauth/deauthorize. Cairn asks it only where /oauth/revoke is missing"},
		{
			Day:   june,
			Words: "Strava moves its API from www.strava.com to www.api-v3.strava.com: set STRAVA_API_URL",
			Open:  func(p *oauth.Provider) bool { return strings.HasPrefix(p.API, "https://www.strava.com/") },
		},
	}
}

type adapter struct{}

// problems is the shape of Strava's errors (docs/providers.md, 2.8).
type problems struct {
	Errors []struct{ Resource, Field, Code string }
}

// apiError distinguishes a 401 for a scope that was not granted from a 401 for a bad token. 403 is about our
// application.
func apiError(_ string, status int, body []byte) (code string, kind error) {
	var answer problems
	switch {
	case status == http.StatusForbidden:
		return "", oauth.ErrAppRefused
	case status != http.StatusUnauthorized || json.Unmarshal(body, &answer) != nil || len(answer.Errors) == 0:
		return "", nil
	case answer.Errors[0].Resource == "AccessToken" && answer.Errors[0].Code == "missing":
		return "", oauth.ErrNotPermitted
	}
	return "", nil
}

// tokenError reads the resource that an error names: there is no "error" field, and the texts differ.
func tokenError(status int, body []byte) (code string, kind error) {
	var answer problems
	if json.Unmarshal(body, &answer) == nil && len(answer.Errors) > 0 {
		code = answer.Errors[0].Resource
	}
	switch code {
	case "RefreshToken", "RequestToken", "AuthorizationCode":
		return code, oauth.ErrRefused
	case "Application", "Athlete", "AccessToken":
	default:
		code = ""
	}
	switch {
	case status == http.StatusForbidden && code == "Application":
		return code, oauth.ErrTooManyPeople
	case status == http.StatusForbidden:
		return code, oauth.ErrAppRefused
	}
	return code, nil
}
