package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"cairn/internal/config"
	"cairn/internal/oauth"
	"cairn/internal/oauth/strava"
)

// AboutStrava explains Strava.
const AboutStrava = `
  subscribe    have Strava send its events here; Strava asks PUBLIC_URL meanwhile,
               so the server has to run and be reachable there
  show         say where they go
  unsubscribe  end it

It prints where the events go after that. --json prints it as one JSON object:
subscribed, here, id, host. The path of the address is a secret and not shown.
`

// subscription is what is shown of it.
type subscription struct {
	Subscribed bool   `json:"subscribed"`
	Here       bool   `json:"here"` // the events come to this site
	ID         int64  `json:"id"`   // Strava's; 0: there is none
	Host       string `json:"host"` // where they go; "": that is not known
}

// Strava manages the one subscription by which Strava tells what happened to connections.
func Strava(ctx context.Context, e Env, out io.Writer) error {
	what, rest, err := verb(e.Args, "subscribe", "show", "unsubscribe")
	if err != nil {
		return err
	}
	asJSON, err := ParseListing(rest)
	if err != nil {
		return err
	}
	c, err := e.configWithSecrets()
	if err != nil {
		return err
	}
	calls, err := stravaOf(c)
	if err != nil {
		return err
	}
	ours := webhook(c, "strava")
	all, err := manageSubscription(ctx, c, calls, what, ours)
	if err != nil {
		return err
	}
	found := examineSubscription(all, ours)
	if asJSON {
		return writeJSON(out, found)
	}
	_, err = fmt.Fprintln(out, found)
	return err
}

// manageSubscription does what was asked for, and returns what there is then.
func manageSubscription(
	ctx context.Context, c config.Config, calls *oauth.Caller, what, ours string,
) ([]strava.Subscription, error) {
	all, err := subscriptions(ctx, calls)
	switch {
	case err != nil || what == "show":
		return all, err
	case what == "subscribe":
		err = subscribe(ctx, c, calls, all, ours)
	default:
		for _, s := range all {
			err = errors.Join(err, strava.Unsubscribe(ctx, calls, s.ID))
		}
	}
	if err != nil {
		return nil, err
	}
	return subscriptions(ctx, calls)
}

// subscriptions asks Strava, which answers keys that are wrong with no more than a status.
func subscriptions(ctx context.Context, calls *oauth.Caller) ([]strava.Subscription, error) {
	all, err := strava.Subscriptions(ctx, calls)
	failure, ok := errors.AsType[*oauth.Error](err)
	if ok && (failure.Status == http.StatusBadRequest || failure.Status == http.StatusUnauthorized) {
		return nil, fmt.Errorf("is STRAVA_CLIENT_SECRET the one of STRAVA_CLIENT_ID? %w", err)
	}
	return all, err
}

// stravaOf returns what makes the calls of an operator. They count in no budget.
func stravaOf(c config.Config) (*oauth.Caller, error) {
	providers, err := c.Registered(c.Apps, c.Site())
	if err != nil {
		return nil, err
	}
	p := providers.Get(strava.Key)
	if p == nil {
		return nil, errors.New("STRAVA_CLIENT_ID is not set: " +
			"there is no application whose subscription could be managed")
	}
	return oauth.NewClient(nil, oauth.Options{}).At(p), nil
}

// subscribe makes the subscription unless it is there already, in place of one that leads elsewhere.
func subscribe(
	ctx context.Context, c config.Config, calls *oauth.Caller, all []strava.Subscription, ours string,
) error {
	for _, s := range all {
		if s.CallbackURL == ours {
			return nil
		}
		if err := strava.Unsubscribe(ctx, calls, s.ID); err != nil {
			return err
		}
	}
	if _, err := strava.Subscribe(ctx, calls, ours); err != nil {
		return fmt.Errorf("strava did not subscribe; it asks %s meanwhile, "+
			"so the server has to run and be reachable there: %w", c.Site(), err)
	}
	return nil
}

// examineSubscription keeps no address but the host: the path is a secret.
func examineSubscription(all []strava.Subscription, ours string) subscription {
	if len(all) == 0 {
		return subscription{}
	}
	found := subscription{Subscribed: true, Here: all[0].CallbackURL == ours, ID: all[0].ID}
	if u, err := url.Parse(all[0].CallbackURL); err == nil {
		found.Host = u.Host
	}
	return found
}

func (s subscription) String() string {
	switch {
	case !s.Subscribed:
		return "Strava sends no events: server strava subscribe"
	case s.Here:
		return fmt.Sprintf("Strava sends its events here (subscription %d)", s.ID)
	case s.Host == "":
		return fmt.Sprintf("Strava sends its events elsewhere (subscription %d): server strava subscribe", s.ID)
	}
	return fmt.Sprintf("Strava sends its events to another address at %s (subscription %d): server strava subscribe",
		s.Host, s.ID)
}

// checkWebhooks asks Strava where it sends its events. For the address to compare with, the doctor needs the secret
// that the server has.
func checkWebhooks(ctx context.Context, e examined) []finding {
	calls, err := stravaOf(e.config)
	switch {
	case err != nil, e.config.SessionSecret == "":
		return nil // no keys, or another check's problem
	}
	ctx, cancel := context.WithTimeout(ctx, e.limits.Doctor)
	defer cancel()
	all, err := subscriptions(ctx, calls)
	if err != nil {
		return []finding{{warning, "webhooks strava", fmt.Sprintf(
			"Strava does not say where it sends its events: %v", err)}}
	}
	found, verdict := examineSubscription(all, webhook(e.config, "strava")), well
	if !found.Here {
		verdict = warning
	}
	return []finding{{verdict, "webhooks strava", found.String()}}
}
