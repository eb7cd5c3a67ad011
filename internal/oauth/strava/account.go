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

// UserInfo implements oauth.Adapter.
func (adapter) UserInfo(ctx context.Context, c *oauth.Caller, accessToken string) (oauth.Account, error) {
	var athlete athlete
	if err := c.Get(ctx, "userinfo", "/athlete", nil, accessToken, &athlete); err != nil {
		return oauth.Account{}, err
	}
	account, ok := athlete.account(c.Provider)
	if !ok {
		return oauth.Account{}, c.Fail("userinfo", oauth.ErrUnavailable, http.StatusOK, "")
	}
	return account, nil
}

// athleteIn reads the athlete from the answer to a code, which usually has it. That saves a call of the quota.
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

// scopesIn reads the scopes from the token answer, which comes from Strava itself, or else from the callback, which
// comes through the browser. One separates them by spaces, the other by commas.
func scopesIn(callback url.Values, t *oauth2.Token) []string {
	scope, _ := t.Extra("scope").(string)
	if scope == "" {
		scope = callback.Get("scope")
	}
	return oauth.Granted(strings.FieldsFunc(scope, func(r rune) bool { return r == ',' || r == ' ' }))
}
