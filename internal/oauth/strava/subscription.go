package strava

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"cairn/internal/oauth"
	"cairn/internal/webhook"
)

var _ webhook.Subscriber = adapter{}

// Subscriptions implements webhook.Subscriber. There is at most one (docs/providers.md, 2.9).
func (adapter) Subscriptions(ctx context.Context, c *oauth.Caller) (all []webhook.Subscription, err error) {
	var list []struct {
		ID          int64  `json:"id"`
		CallbackURL string `json:"callback_url"`
	}
	err = pushSubscriptions(ctx, c, http.MethodGet, "?"+credentials(c).Encode(), nil, &list)
	for _, one := range list {
		all = append(all, webhook.Subscription{ID: one.ID, CallbackURL: one.CallbackURL})
	}
	return all, err
}

// Subscribe implements webhook.Subscriber.
func (adapter) Subscribe(ctx context.Context, c *oauth.Caller, callback string) error {
	form := credentials(c)
	form.Set("callback_url", callback)
	form.Set("verify_token", c.WebhookSecret)
	var made struct{ ID int64 }
	return pushSubscriptions(ctx, c, http.MethodPost, "", form, &made)
}

// Unsubscribe implements webhook.Subscriber.
func (adapter) Unsubscribe(ctx context.Context, c *oauth.Caller, id int64) error {
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
