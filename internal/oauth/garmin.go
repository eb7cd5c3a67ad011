package oauth

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"cairn/internal/text"
)

// Garmin is OAuth 2 with PKCE and a secret. There are no scopes: the API says what a person
// permits. It names no person either, so an account is known by its opaque id.
func Garmin(app App) *Provider {
	return newProvider(Provider{
		Key: "garmin", Name: "Garmin", FullName: "Garmin Connect",
		ManageURL: "https://connect.garmin.com/app/settings/connectedapps",
		Hosts:     "https://*.garmin.com", PKCE: true,
		Permissions: []Permission{
			{Key: "ACTIVITY_EXPORT", Words: "Receive your activities", Needed: true},
			{Key: "HEALTH_EXPORT", Words: "Receive your daily health data"},
			{Key: "HISTORICAL_DATA_EXPORT", Words: "Receive data from before you connected"},
			{Key: "WORKOUT_IMPORT", Words: "Send workouts to your device"},
			{Key: "COURSE_IMPORT", Words: "Send courses to your device"},
			{Key: "MCT_EXPORT", Words: "Receive your cycle tracking data"},
		},
		RefreshEarly: 10 * time.Minute, AssumedLife: 24 * time.Hour, RefreshIdle: 30 * 24 * time.Hour,
		whoAmI: garminUser, revokeByAccess: garminDeregister, forbidsUnknown: true, pushes: true,
	}, app, Endpoints{
		Authorize: "https://connect.garmin.com/oauth2Confirm",
		Token:     "https://diauth.garmin.com/di-oauth2-service/oauth/token",
		API:       "https://apis.garmin.com",
	})
}

func garminUser(ctx context.Context, c *caller, accessToken string) (Account, error) {
	var user struct{ UserID text.ID }
	if err := c.garmin(ctx, http.MethodGet, "who-am-I", "/wellness-api/rest/user/id", accessToken, &user); err != nil {
		return Account{}, err
	}
	if user.UserID == "" {
		return Account{}, c.fail("who-am-I", ErrUnavailable, http.StatusOK, "")
	}
	granted, err := garminPermissions(ctx, c, accessToken)
	return Account{Subject: string(user.UserID), Granted: granted}, err
}

// garminPermissions accepts both shapes that the permissions are said to come in: an object and a bare array. An answer
// without any, even an empty list, is an error that came with status 200.
func garminPermissions(ctx context.Context, c *caller, accessToken string) ([]string, error) {
	var raw json.RawMessage
	err := c.garmin(ctx, http.MethodGet, "permissions", "/wellness-api/rest/user/permissions", accessToken, &raw)
	if err != nil {
		return nil, err
	}
	var object struct{ Permissions []string }
	if json.Unmarshal(raw, &object) == nil && object.Permissions != nil {
		return permissionsOf(object.Permissions), nil
	}
	var array []string
	if json.Unmarshal(raw, &array) == nil && array != nil {
		return permissionsOf(array), nil
	}
	return nil, c.fail("permissions", ErrUnavailable, http.StatusOK, "")
}

// garminDeregister ends the link.
func garminDeregister(ctx context.Context, c *caller, accessToken string) error {
	err := c.garmin(ctx, http.MethodDelete, "revoke", "/wellness-api/rest/user/registration", accessToken, nil)
	if statusIs(err, http.StatusNotFound) {
		return nil
	}
	return err
}

func (c *caller) garmin(ctx context.Context, method, name, path, accessToken string, out any) error {
	r, err := http.NewRequest(method, c.provider.API+path, nil)
	if err != nil {
		return err
	}
	return c.call(ctx, name, bearer(r, accessToken), out)
}
