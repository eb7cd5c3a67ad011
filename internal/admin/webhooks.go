package admin

import (
	"context"
	"fmt"
	"io"
	"strings"

	"cairn/internal/config"
	"cairn/internal/oauth"
	"cairn/internal/routes"
	"cairn/internal/webhook"
)

// AboutWebhooks explains Webhooks.
func AboutWebhooks() string {
	var manual, subscribed []string
	for _, p := range config.Providers() {
		made := p.Make(oauth.App{})
		if _, ok := made.Adapter.(webhook.Manual); ok {
			manual = append(manual, made.Name)
		}
	}
	for _, s := range Subscriptions() {
		subscribed = append(subscribed, "For "+s.name()+", run server "+s.Name()+" subscribe instead.")
	}
	return "\nEnter these addresses by hand, in the settings of " + strings.Join(manual, " and ") + ".\n" +
		strings.Join(subscribed, "\n") + "\n" +
		"The addresses are secret: they contain a key made from SESSION_SECRET.\n\n" +
		"--json prints one JSON object a line: provider, url, purpose.\n"
}

// webhookRow is a line of the listing.
type webhookRow struct {
	Provider string `json:"provider"`
	URL      string `json:"url"`
	Purpose  string `json:"purpose"`
}

// Webhooks prints the webhook addresses that operators enter at providers by hand.
func Webhooks(_ context.Context, e Env, out io.Writer) error {
	asJSON, err := ParseListing(e.Args)
	if err != nil {
		return err
	}
	c, err := e.configWithSecrets()
	if err != nil {
		return err
	}
	var text strings.Builder
	text.WriteString("Keep these addresses to yourself.\n")
	var rows []webhookRow
	for _, p := range config.Providers() {
		made := p.Make(oauth.App{})
		if manual, ok := made.Adapter.(webhook.Manual); ok {
			row := webhookRow{p.Key, webhookURL(c, p.Key), manual.Purpose()}
			rows = append(rows, row)
			text.WriteString(fmt.Sprintf("%s, for %s:\n  %s\n", made.Name, row.Purpose, row.URL))
		}
	}
	if asJSON {
		return listAll(out, true, "", rows, nil)
	}
	for _, s := range Subscriptions() {
		text.WriteString(fmt.Sprintf("%s: server %s subscribe\n", s.name(), s.Name()))
	}
	_, err = io.WriteString(out, text.String())
	return err
}

// webhookURL returns the address to which a provider sends its events.
func webhookURL(c config.Config, provider string) string {
	return c.Site().JoinPath(routes.WebhookPath(provider, c.WebhookKey())).String()
}
