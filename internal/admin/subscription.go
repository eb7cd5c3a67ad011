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

// Subscription is the command that manages the subscription to one provider's events.
type Subscription struct{ provider config.Provider }

// Subscriptions are those of all providers that are subscribed to by a call.
func Subscriptions() (all []Subscription) {
	for _, p := range config.Providers() {
		if _, ok := p.Make(oauth.App{}).Adapter.(webhook.Subscriber); ok {
			all = append(all, Subscription{p})
		}
	}
	return all
}

// Name is the command's: the provider's key.
func (s Subscription) Name() string { return s.provider.Key }

// Summary says what it does.
func (s Subscription) Summary() string { return "Manage the events that " + s.name() + " sends" }

// About explains it.
func (s Subscription) About() string {
	return fmt.Sprintf(`
  subscribe    have %[1]s send its events here; %[1]s asks PUBLIC_URL meanwhile,
               so the server has to run and be reachable there
  show         say where they go
  unsubscribe  end it

It prints where the events go after that. --json prints it as one JSON object:
subscribed, here, id, host. The path of the address is a secret and not shown.
`, s.name())
}

func (s Subscription) name() string { return s.provider.Make(oauth.App{}).Name }

// Run manages the one subscription by which a provider tells what happened to connections.
func (s Subscription) Run(ctx context.Context, e Env, out io.Writer) error {
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

// subscribing makes an operator's calls to a provider. They count in no budget.
type subscribing struct {
	webhook.Subscriber
	calls  *oauth.Caller
	prefix string // of the provider's variables
	site   string
	ours   string // where the events have to go
}

func (s Subscription) at(c config.Config) (subscribing, error) {
	providers, err := c.Registered(c.Apps, c.Site())
	if err != nil {
		return subscribing{}, err
	}
	p := providers.Get(s.provider.Key)
	if p == nil {
		return subscribing{}, errors.New(s.provider.Prefix + "_CLIENT_ID is not set: " +
			"there is no application whose subscription could be managed")
	}
	return subscribing{
		Subscriber: p.Adapter.(webhook.Subscriber), calls: oauth.NewClient(nil, oauth.Options{}).At(p),
		prefix: s.provider.Prefix, site: c.Site().String(), ours: webhookURL(c, p.Key),
	}, nil
}

// list asks the provider, which answers keys that are wrong with no more than a status.
func (s subscribing) list(ctx context.Context) ([]webhook.Subscription, error) {
	all, err := s.Subscriptions(ctx, s.calls)
	if oauth.StatusIs(err, http.StatusBadRequest) || oauth.StatusIs(err, http.StatusUnauthorized) {
		return nil, fmt.Errorf("is %[1]s_CLIENT_SECRET the one of %[1]s_CLIENT_ID? %[2]w", s.prefix, err)
	}
	return all, err
}

// manage does what was asked for.
func (s subscribing) manage(ctx context.Context, what string) error {
	if what == "show" {
		return nil
	}
	all, err := s.list(ctx)
	if err != nil {
		return err
	}
	if what == "subscribe" {
		return s.subscribe(ctx, all)
	}
	for _, one := range all {
		err = errors.Join(err, s.Unsubscribe(ctx, s.calls, one.ID))
	}
	return err
}

// subscribe makes the subscription unless it is there already, in place of one that leads elsewhere.
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
		return fmt.Errorf("%s did not subscribe; it asks %s meanwhile, "+
			"so the server has to run and be reachable there: %w", s.calls.Key, s.site, err)
	}
	return nil
}

// subscription is what is shown of it.
type subscription struct {
	Subscribed bool   `json:"subscribed"`
	Here       bool   `json:"here"` // the events come to this site
	ID         int64  `json:"id"`   // the provider's; 0: there is none
	Host       string `json:"host"` // where they go; "": that is not known

	provider *oauth.Provider
}

// find says what subscription there is. It keeps no address but the host: the path is a secret.
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

// checkWebhooks asks where events are sent. For the address to compare with, the doctor needs the secret
// that the server has.
func checkWebhooks(ctx context.Context, e examined) (found []finding) {
	for _, s := range Subscriptions() {
		calls, err := s.at(e.config)
		if err != nil || e.config.SessionSecret == "" {
			continue // no keys, or another check's problem
		}
		found = append(found, e.checkSubscription(ctx, calls))
	}
	return found
}

func (e examined) checkSubscription(ctx context.Context, s subscribing) finding {
	ctx, cancel := context.WithTimeout(ctx, e.limits.Doctor)
	defer cancel()
	what := "webhooks " + s.calls.Key
	found, err := s.find(ctx)
	switch {
	case err != nil:
		return finding{warning, what, fmt.Sprintf("%s does not say where it sends its events: %v", s.calls.Name, err)}
	case !found.Here:
		return finding{warning, what, found.String()}
	}
	return finding{well, what, found.String()}
}
