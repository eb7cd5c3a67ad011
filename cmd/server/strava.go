package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"

	"cairn/internal/oauth"
	"cairn/internal/routes"
)

var errStravaUsage = errors.New("usage: server strava subscribe | show | unsubscribe")

// stravaCommand manages the one subscription by which Strava tells what happened to connections.
func stravaCommand(ctx context.Context, config Config, verb string, out io.Writer) error {
	config, err := withSecrets(config)
	if err != nil {
		return err
	}
	strava, err := stravaOf(config)
	if err != nil {
		return err
	}
	all, err := subscriptions(ctx, strava)
	if err != nil {
		return err
	}
	ours := stravaHook(config)
	switch verb {
	case "subscribe":
		err = subscribe(ctx, config, strava, all, ours)
	case "unsubscribe":
		for _, s := range all {
			err = errors.Join(err, strava.Unsubscribe(ctx, s.ID))
		}
	}
	if err != nil {
		return err
	}
	if verb != "show" {
		if all, err = subscriptions(ctx, strava); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(out, subscriptionInWords(all, ours))
	return err
}

// subscriptions asks Strava, which answers keys that are wrong with no more than a status.
func subscriptions(ctx context.Context, strava *oauth.Provider) ([]oauth.Subscription, error) {
	all, err := strava.Subscriptions(ctx)
	if failure, ok := errors.AsType[*oauth.Error](err); ok && (failure.Status == http.StatusBadRequest || failure.Status == http.StatusUnauthorized) {
		return nil, fmt.Errorf("is STRAVA_CLIENT_SECRET the one of STRAVA_CLIENT_ID? %w", err)
	}
	return all, err
}

func stravaOf(config Config) (*oauth.Provider, error) {
	providers, err := registered(config.Apps, config.site())
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(providers, func(p *oauth.Provider) bool { return p.Key == "strava" })
	if i < 0 {
		return nil, errors.New("STRAVA_CLIENT_ID is not set: there is no application whose subscription could be managed")
	}
	return providers[i], nil
}

// stravaHook is where Strava is to send its events.
func stravaHook(config Config) string {
	return config.site().JoinPath(routes.WebhookPath("strava", webhookKey(config))).String()
}

// subscribe makes the subscription unless it is there already, in place of one that leads elsewhere.
func subscribe(ctx context.Context, config Config, strava *oauth.Provider, all []oauth.Subscription, ours string) error {
	for _, s := range all {
		if s.CallbackURL == ours {
			return nil
		}
		if err := strava.Unsubscribe(ctx, s.ID); err != nil {
			return err
		}
	}
	if _, err := strava.Subscribe(ctx, ours, verifyToken(config)); err != nil {
		return fmt.Errorf("strava did not subscribe; it asks %s meanwhile, so the server has to run and be reachable there: %w", config.site(), err)
	}
	return nil
}

// subscriptionInWords names no address but the host's: the path is a secret.
func subscriptionInWords(all []oauth.Subscription, ours string) string {
	if len(all) == 0 {
		return "Strava sends no events: server strava subscribe"
	}
	u, err := url.Parse(all[0].CallbackURL)
	switch {
	case all[0].CallbackURL == ours:
		return fmt.Sprintf("Strava sends its events here (subscription %d)", all[0].ID)
	case err != nil || u.Host == "":
		return fmt.Sprintf("Strava sends its events elsewhere (subscription %d): server strava subscribe", all[0].ID)
	}
	return fmt.Sprintf("Strava sends its events to another address at %s (subscription %d): server strava subscribe", u.Host, all[0].ID)
}

// listWebhooks prints the addresses that are entered at providers by hand. They are secrets.
func listWebhooks(config Config, out io.Writer) error {
	config, err := withSecrets(config)
	if err != nil {
		return err
	}
	at := func(provider string) *url.URL {
		return config.site().JoinPath(routes.WebhookPath(provider, webhookKey(config)))
	}
	_, err = fmt.Fprintf(out, "Keep these addresses to yourself.\nGarmin, for deregistrations, permission changes, activities and all else:\n  %s\n"+
		"Foursquare, for user push:\n  %s\nStrava: server strava subscribe\n", at("garmin"), at("foursquare"))
	return err
}

// checkWebhooks asks Strava where it sends its events. For the address to compare with, the doctor needs the secret that
// the server has.
func checkWebhooks(ctx context.Context, e examined) []finding {
	strava, err := stravaOf(e.config)
	switch {
	case err != nil, e.config.SessionSecret == "":
		return nil // no keys, or another check's problem
	}
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	all, err := subscriptions(ctx, strava)
	if err != nil {
		return []finding{{warning, "webhooks strava", fmt.Sprintf("Strava does not say where it sends its events: %v", err)}}
	}
	ours := stravaHook(e.config)
	verdict := well
	if len(all) == 0 || all[0].CallbackURL != ours {
		verdict = warning
	}
	return []finding{{verdict, "webhooks strava", subscriptionInWords(all, ours)}}
}
