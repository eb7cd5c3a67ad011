package oauth

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"cairn/internal/text"
)

// Strava is OAuth 2 with a secret and without PKCE. People may untick scopes, and the callback says which were granted.
// Scopes travel as one string with commas: x/oauth2 would join them with spaces, which Strava has misread.
func Strava(app App) *Provider {
	return newProvider(Provider{
		Key: "strava", Name: "Strava", ManageURL: "https://www.strava.com/settings/apps",
		Config: oauth2.Config{Scopes: []string{"read,activity:read_all"}},
		Permissions: []Permission{
			{Key: "read", Words: "See your public profile"},
			{Key: "activity:read", Words: "See your activities, except those only you can see"},
			{Key: "activity:read_all", Words: "See your activities, including those only you can see", Needed: true},
		},
		RefreshEarly: time.Minute, AssumedLife: 6 * time.Hour,
		PictureHosts:   []string{"dgalywyr863hv.cloudfront.net", "lh3.googleusercontent.com"},
		authParams:     []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("approval_prompt", "auto")},
		whoAmI:         stravaAthlete,
		accountOf:      stravaAthleteOf,
		revoke:         stravaRevoke,
		revokeByAccess: stravaDeauthorize,
		grantedOf:      stravaScopes,
		tellsQuota:     true,
	}, app, Endpoints{
		Authorize: "https://www.strava.com/oauth/authorize",
		Token:     "https://www.strava.com/oauth/token",
		API:       "https://www.strava.com/api/v3",
		Revoke:    "https://www.strava.com/oauth/revoke",
	})
}

func stravaAthlete(ctx context.Context, c *caller, accessToken string) (Account, error) {
	r, err := c.provider.request("/athlete", nil, accessToken)
	if err != nil {
		return Account{}, err
	}
	var athlete athlete
	if err := c.call(ctx, "who-am-I", r, &athlete); err != nil {
		return Account{}, err
	}
	account, ok := athlete.account(c.provider)
	if !ok {
		return Account{}, c.fail("who-am-I", ErrUnavailable, http.StatusOK, "")
	}
	return account, nil
}

// stravaAthleteOf saves a call that counts in the quota: the answer to a code mostly names the athlete.
func stravaAthleteOf(p *Provider, t *oauth2.Token) (Account, bool) {
	raw, _ := t.Extra("athlete").(string)
	var athlete athlete
	if json.Unmarshal([]byte(raw), &athlete) != nil {
		return Account{}, false
	}
	return athlete.account(p)
}

type athlete struct {
	ID                  text.ID
	Firstname, Lastname string
	Profile             string
}

func (a athlete) account(p *Provider) (Account, bool) {
	if _, ok := a.ID.Int64(); !ok {
		return Account{}, false
	}
	return Account{
		Subject:    string(a.ID),
		Name:       personName(a.Firstname, a.Lastname),
		PictureURL: p.link(a.Profile),
	}, true
}

// stravaScopes prefers the token answer, which comes from Strava, to the callback, which comes through the browser. One
// separates by spaces, the other by commas; the first is not always there.
func stravaScopes(callback url.Values, t *oauth2.Token) []string {
	scope, _ := t.Extra("scope").(string)
	if scope == "" {
		scope = callback.Get("scope")
	}
	return permissionsOf(strings.FieldsFunc(scope, func(r rune) bool { return r == ',' || r == ' ' }))
}

// stravaRevoke uses the revocation address that Strava has had since June 2026.
func stravaRevoke(ctx context.Context, c *caller, t *oauth2.Token) error {
	token := t.RefreshToken
	if token == "" {
		token = t.AccessToken
	}
	form := url.Values{"token": {token}}
	r, err := http.NewRequest(http.MethodPost, c.provider.Revoke, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(c.provider.Config.ClientID), url.QueryEscape(c.provider.Config.ClientSecret))
	return c.call(ctx, "revoke", r, nil)
}

// stravaDeauthorize uses the address that Strava retires in June 2027.
func stravaDeauthorize(ctx context.Context, c *caller, accessToken string) error {
	address := strings.TrimSuffix(c.provider.Revoke, "/revoke") + "/deauthorize"
	r, err := http.NewRequest(http.MethodPost, address, nil)
	if err != nil {
		return err
	}
	return c.call(ctx, "revoke", bearer(r, accessToken), nil)
}
