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
	"cairn/internal/webhook"
)

// Subscription is the command that manages our subscription to a provider's events.
type Subscription struct{ provider config.Provider }

// Subscriptions returns a command for each provider whose events we subscribe to with a call.
func Subscriptions() (all []Subscription) {
	for _, p := range config.Providers() {
		if _, ok := p.Make(oauth.App{}).Adapter.(webhook.Subscriber); ok {
			all = append(all, Subscription{p})
		}
	}
	return all
}

// Name returns the command's name, which is the provider's key.
func (s Subscription) Name() string { return s.provider.Key }

// Summary returns one line about the command.
func (s Subscription) Summary() string { return "Manage the events that " + s.name() + " sends" }

// About explains the command.
func (s Subscription) About() string {
	return fmt.Sprintf(`
  subscribe    have %[1]s send its events here; %[1]s checks PUBLIC_URL first,
               so the server has to be running and reachable there
  show         only show where the events go
  unsubscribe  end the subscription

Each prints where the events go now. --json prints that as one JSON object:
subscribed, here, id, host. The path of the address is secret and not shown.
`, s.name())
}

func (s Subscription) name() string { return s.provider.Make(oauth.App{}).Name }

// Run manages the subscription, of which an application has one.
func (s Subscription) Run(ctx context.Context, e Env, out io.Writer) error {
	what, rest, err := Verb(e.Args, "subscribe", "show", "unsubscribe")
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
	calls, err := s.at(c)
	if err != nil {
		return err
	}
	if err := calls.manage(ctx, what); err != nil {
		return err
	}
	found, err := calls.find(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(out, found)
	}
	_, err = fmt.Fprintln(out, found)
	return err
}

// subscribing makes the calls to a provider. They don't count against its quota.
type subscribing struct {
	webhook.Subscriber
	calls  *oauth.Caller
	prefix string // of the provider's variables
	site   string
	ours   string // the address to which the events should go
}

func (s Subscription) at(c config.Config) (subscribing, error) {
	providers, err := c.Registered(c.Apps, c.Site())
	if err != nil {
		return subscribing{}, err
	}
	p := providers.Get(s.provider.Key)
	if p == nil {
		return subscribing{}, errors.New(s.provider.Prefix + "_CLIENT_ID is not set: " +
			"without an application there is no subscription")
	}
	return subscribing{
		Subscriber: p.Adapter.(webhook.Subscriber), calls: oauth.NewClient(nil, oauth.Options{}).At(p),
		prefix: s.provider.Prefix, site: c.Site().String(), ours: webhookURL(c, p.Key),
	}, nil
}

// list returns the subscriptions. The provider answers wrong keys with nothing but a status.
func (s subscribing) list(ctx context.Context) ([]webhook.Subscription, error) {
	all, err := s.Subscriptions(ctx, s.calls)
	if oauth.StatusIs(err, http.StatusBadRequest) || oauth.StatusIs(err, http.StatusUnauthorized) {
		return nil, fmt.Errorf("do %[1]s_CLIENT_ID and %[1]s_CLIENT_SECRET belong together? %[2]w", s.prefix, err)
	}
	return all, err
}

// manage subscribes, unsubscribes or does nothing, as verb says.
func (s subscribing) manage(ctx context.Context, verb string) error {
	if verb == "show" {
		return nil
	}
	all, err := s.list(ctx)
	if err != nil {
		return err
	}
	if verb == "subscribe" {
		return s.subscribe(ctx, all)
	}
	for _, one := range all {
		err = errors.Join(err, s.Unsubscribe(ctx, s.calls, one.ID))
	}
	return err
}

// subscribe makes the subscription unless it exists. It replaces one that leads elsewhere.
func (s subscribing) subscribe(ctx context.Context, all []webhook.Subscription) error {
	for _, one := range all {
		if one.CallbackURL == s.ours {
			return nil
		}
		if err := s.Unsubscribe(ctx, s.calls, one.ID); err != nil {
			return err
		}
	}
	if err := s.Subscribe(ctx, s.calls, s.ours); err != nil {
		return fmt.Errorf("%s refused the subscription; it checks %s first, "+
			"so the server has to be running and reachable there: %w", s.calls.Name, s.site, err)
	}
	return nil
}

// subscription is what the command shows.
type subscription struct {
	Subscribed bool   `json:"subscribed"`
	Here       bool   `json:"here"` // the events come to this site
	ID         int64  `json:"id"`   // at the provider; 0: there is none
	Host       string `json:"host"` // of the address to which the events go; "": unknown

	provider *oauth.Provider
}

// find returns the subscription that exists. Of its address it keeps only the host, because the path is secret.
func (s subscribing) find(ctx context.Context) (subscription, error) {
	all, err := s.list(ctx)
	if err != nil || len(all) == 0 {
		return subscription{provider: s.calls.Provider}, err
	}
	found := subscription{
		Subscribed: true, Here: all[0].CallbackURL == s.ours, ID: all[0].ID, provider: s.calls.Provider,
	}
	if u, err := url.Parse(all[0].CallbackURL); err == nil {
		found.Host = u.Host
	}
	return found, nil
}

func (s subscription) String() string {
	again := ": server " + s.provider.Key + " subscribe"
	switch {
	case !s.Subscribed:
		return s.provider.Name + " sends no events" + again
	case s.Here:
		return fmt.Sprintf("%s sends its events here (subscription %d)", s.provider.Name, s.ID)
	case s.Host == "":
		return fmt.Sprintf("%s sends its events elsewhere (subscription %d)", s.provider.Name, s.ID) + again
	}
	return fmt.Sprintf("%s sends its events to another address at %s (subscription %d)",
		s.provider.Name, s.Host, s.ID) + again
}

// checkWebhooks checks where providers send their events. To know our own address it needs the server's SESSION_SECRET.
func checkWebhooks(ctx context.Context, e deployment) (found []Finding) {
	for _, s := range Subscriptions() {
		calls, err := s.at(e.config)
		if err != nil || e.config.SessionSecret == "" {
			continue // no keys, or a problem that another check reports
		}
		found = append(found, e.checkSubscription(ctx, calls))
	}
	return found
}

func (e deployment) checkSubscription(ctx context.Context, s subscribing) Finding {
	ctx, cancel := context.WithTimeout(ctx, e.limits.Doctor)
	defer cancel()
	what := "webhooks " + s.calls.Key
	found, err := s.find(ctx)
	switch {
	case err != nil:
		return Finding{Warning, what, fmt.Sprintf("%s does not say where it sends its events: %v", s.calls.Name, err)}
	case !found.Here:
		return Finding{Warning, what, found.String()}
	}
	return Finding{OK, what, found.String()}
}
