package oauth

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Subscription is where Strava sends its events. An application has one at most (docs/providers.md, 2.9).
type Subscription struct {
	ID          int64  `json:"id"`
	CallbackURL string `json:"callback_url"`
}

// Subscriptions lists those of our application at Strava: none or one. Errors: *Error.
func (p *Provider) Subscriptions(ctx context.Context) (all []Subscription, err error) {
	err = p.pushSubscriptions(ctx, http.MethodGet, "?"+p.credentials().Encode(), nil, &all)
	return all, err
}

// Subscribe has Strava send its events to an address, which has to answer its challenge with verifyToken meanwhile.
// Errors: *Error.
func (p *Provider) Subscribe(ctx context.Context, callback, verifyToken string) (made Subscription, err error) {
	form := p.credentials()
	form.Set("callback_url", callback)
	form.Set("verify_token", verifyToken)
	err = p.pushSubscriptions(ctx, http.MethodPost, "", form, &made)
	return made, err
}

// Unsubscribe ends a subscription. Errors: *Error.
func (p *Provider) Unsubscribe(ctx context.Context, id int64) error {
	path := "/" + strconv.FormatInt(id, 10) + "?" + p.credentials().Encode()
	return p.pushSubscriptions(ctx, http.MethodDelete, path, nil, nil)
}

func (p *Provider) credentials() url.Values {
	return url.Values{"client_id": {p.Config.ClientID}, "client_secret": {p.Config.ClientSecret}}
}

func (p *Provider) pushSubscriptions(ctx context.Context, method, rest string, form url.Values, out any) error {
	r, err := http.NewRequest(method, p.API+"/push_subscriptions"+rest, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	limits := Limits{}.withDefaults()
	c := &caller{provider: p, client: newClient(limits.Call), limits: limits}
	return c.call(ctx, "subscription", r, out)
}
