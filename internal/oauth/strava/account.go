package strava

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/oauth2"

	"cairn/internal/oauth"
	"cairn/internal/text"
)

// WhoAmI implements oauth.Adapter.
func (adapter) WhoAmI(ctx context.Context, c *oauth.Caller, accessToken string) (oauth.Account, error) {
	var athlete athlete
	if err := c.Get(ctx, "who-am-I", "/athlete", nil, accessToken, &athlete); err != nil {
		return oauth.Account{}, err
	}
	account, ok := athlete.account(c.Provider)
	if !ok {
		return oauth.Account{}, c.Fail("who-am-I", oauth.ErrUnavailable, http.StatusOK, "")
	}
	return account, nil
}

// athleteIn saves a call that counts in the quota: the answer to a code mostly names the athlete.
func athleteIn(p *oauth.Provider, t *oauth2.Token) (oauth.Account, bool) {
	raw, _ := t.Extra("athlete").(string)
	var athlete athlete
	if json.Unmarshal([]byte(raw), &athlete) != nil {
		return oauth.Account{}, false
	}
	return athlete.account(p)
}

type athlete struct {
	ID                  text.ID
	Firstname, Lastname string
	Profile             string
}

func (a athlete) account(p *oauth.Provider) (oauth.Account, bool) {
	if _, ok := a.ID.Int64(); !ok {
		return oauth.Account{}, false
	}
	return oauth.Account{
		Subject:    string(a.ID),
		Name:       oauth.PersonName(a.Firstname, a.Lastname),
		PictureURL: p.Link(a.Profile),
	}, true
}

// scopesIn prefers the token answer, which comes from Strava, to the callback, which comes through the browser. One
// separates by spaces, the other by commas; the first is not always there.
func scopesIn(callback url.Values, t *oauth2.Token) []string {
	scope, _ := t.Extra("scope").(string)
	if scope == "" {
		scope = callback.Get("scope")
	}
	return oauth.Granted(strings.FieldsFunc(scope, func(r rune) bool { return r == ',' || r == ' ' }))
}
