package strava

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"cairn/internal/oauth"
)

// Subscription is where Strava sends its events. An application has one at most (docs/providers.md, 2.9).
type Subscription struct {
	ID          int64  `json:"id"`
	CallbackURL string `json:"callback_url"`
}

// Subscriptions lists those of our application at Strava: none or one. Errors: *oauth.Error.
func Subscriptions(ctx context.Context, c *oauth.Caller) (all []Subscription, err error) {
	err = pushSubscriptions(ctx, c, http.MethodGet, "?"+credentials(c).Encode(), nil, &all)
	return all, err
}

// Subscribe has Strava send its events to an address, which has to answer its challenge with our WebhookSecret
// meanwhile. Errors: *oauth.Error.
func Subscribe(ctx context.Context, c *oauth.Caller, callback string) (made Subscription, err error) {
	form := credentials(c)
	form.Set("callback_url", callback)
	form.Set("verify_token", c.WebhookSecret)
	err = pushSubscriptions(ctx, c, http.MethodPost, "", form, &made)
	return made, err
}

// Unsubscribe ends a subscription. Errors: *oauth.Error.
func Unsubscribe(ctx context.Context, c *oauth.Caller, id int64) error {
	path := "/" + strconv.FormatInt(id, 10) + "?" + credentials(c).Encode()
	return pushSubscriptions(ctx, c, http.MethodDelete, path, nil, nil)
}

func credentials(c *oauth.Caller) url.Values {
	return url.Values{"client_id": {c.Config.ClientID}, "client_secret": {c.Config.ClientSecret}}
}

func pushSubscriptions(ctx context.Context, c *oauth.Caller, method, rest string, form url.Values, out any) error {
	r, err := http.NewRequest(method, c.API+"/push_subscriptions"+rest, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return c.Call(ctx, "subscription", r, out)
}
