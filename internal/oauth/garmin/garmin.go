// Package garmin has everything about Garmin: addresses, permissions, errors, revocation, webhooks, activities.
// docs/providers.md, section 3, says how Garmin behaves.
//
//	garmin.go      the description, whose account it is, what is granted, revocation, errors
//	activities.go  activities, which Garmin sends by itself or gives an address for
//	webhook.go     what Garmin sends: activities, deregistrations, changes of permissions
package garmin

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"golang.org/x/oauth2"

	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/text"
)

// Key names Garmin in routes and in the database.
const Key = "garmin"

// New describes Garmin: OAuth 2 with PKCE and a secret. There are no scopes: the API says what a person permits. It has
// no names either, only an opaque id of the account.
func New(app oauth.App) *oauth.Provider {
	return oauth.Provider{
		Key: Key, Name: "Garmin", FullName: "Garmin Connect", TwoStep: true,
		ManageURL: "https://connect.garmin.com/app/settings/connectedapps",
		Offer:     "Lets Cairn receive the activities your watch records, and the health data you choose to share.",
		Hosts:     "https://*.garmin.com", PKCE: true,
		Permissions: []oauth.Permission{
			{Key: "ACTIVITY_EXPORT", Words: "Receive your activities", Needed: true},
			{Key: "HEALTH_EXPORT", Words: "Receive your daily health data"},
			{Key: "HISTORICAL_DATA_EXPORT", Words: "Receive data from before you connected"},
			{Key: "WORKOUT_IMPORT", Words: "Send workouts to your device"},
			{Key: "COURSE_IMPORT", Words: "Send courses to your device"},
			{Key: "MCT_EXPORT", Words: "Receive your cycle tracking data"},
		},
		RefreshEarly: 10 * time.Minute, AssumedLife: 24 * time.Hour, RefreshIdle: 30 * 24 * time.Hour,
		Deadlines: []oauth.Deadline{{
			Day:   time.Date(2026, time.December, 31, 0, 0, 0, 0, time.UTC),
			Words: "Garmin ends OAuth 1. Cairn uses OAuth 2",
		}},
		Moved:    "Garmin has changed how it lets us in. Connect it again before 31 December 2026",
		APIError: apiError,
		Adapter:  adapter{},
	}.For(app, oauth.Endpoints{
		Authorize: "https://connect.garmin.com/oauth2Confirm",
		Token:     "https://diauth.garmin.com/di-oauth2-service/oauth/token",
		API:       "https://apis.garmin.com",
	})
}

type adapter struct{}

// apiError knows 403 for a token that is no longer known; 401 is for one that has expired. If data is refused, that
// says nothing about a connection, because others named its address.
func apiError(call string, status int, _ []byte) (code string, kind error) {
	switch {
	case call == "data" && slices.Contains(unfit, status):
		return "", oauth.ErrNotServed
	case status == http.StatusForbidden:
		return "", oauth.ErrRefused
	}
	return "", nil
}

// unfit are the answers to a request for data that was served already, or is not for us (docs/providers.md, 3.5).
var unfit = []int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusGone}

// UserInfo implements oauth.Adapter.
func (adapter) UserInfo(ctx context.Context, c *oauth.Caller, accessToken string) (oauth.Account, error) {
	var user struct{ UserID text.ID }
	if err := c.Get(ctx, "userinfo", "/wellness-api/rest/user/id", nil, accessToken, &user); err != nil {
		return oauth.Account{}, err
	}
	if user.UserID == "" {
		return oauth.Account{}, c.Fail("userinfo", oauth.ErrUnavailable, http.StatusOK, "")
	}
	granted, err := permissions(ctx, c, accessToken)
	return oauth.Account{Subject: string(user.UserID), Granted: granted}, err
}

// permissions accepts both shapes in which permissions are said to come: an object and a bare array. An answer without
// a list is an error that came with status 200.
func permissions(ctx context.Context, c *oauth.Caller, accessToken string) ([]string, error) {
	var raw json.RawMessage
	err := c.Get(ctx, "permissions", "/wellness-api/rest/user/permissions", nil, accessToken, &raw)
	if err != nil {
		return nil, err
	}
	var object struct{ Permissions []string }
	if json.Unmarshal(raw, &object) == nil && object.Permissions != nil {
		return oauth.Granted(object.Permissions), nil
	}
	var array []string
	if json.Unmarshal(raw, &array) == nil && array != nil {
		return oauth.Granted(array), nil
	}
	return nil, c.Fail("permissions", oauth.ErrUnavailable, http.StatusOK, "")
}

var _ connection.Revoker = adapter{}

// Revoke implements connection.Revoker: it deletes the registration, which takes a valid access token.
func (adapter) Revoke(ctx context.Context, c *oauth.Caller, _ *oauth2.Token, access connection.Access) error {
	accessToken, err := access(ctx)
	if err != nil {
		return err
	}
	r, err := http.NewRequest(http.MethodDelete, c.API+"/wellness-api/rest/user/registration", nil)
	if err != nil {
		return err
	}
	err = c.Call(ctx, "revoke", oauth.Bearer(r, accessToken), nil)
	if oauth.StatusIs(err, http.StatusNotFound) {
		return nil
	}
	return err
}
