package admin

import (
	"context"
	"fmt"
	"io"

	"cairn/internal/config"
	"cairn/internal/routes"
)

// AboutWebhooks explains Webhooks.
const AboutWebhooks = `
Garmin and Foursquare are given their address by hand, in their own settings;
Strava is given its by server strava subscribe. The addresses are secrets: they
hold a key made from SESSION_SECRET.

--json prints one JSON object a line: provider, url, purpose.
`

// webhookRow is a line of the listing.
type webhookRow struct {
	Provider string `json:"provider"`
	URL      string `json:"url"`
	Purpose  string `json:"purpose"`
}

// Webhooks prints the addresses that are entered at providers by hand.
func Webhooks(_ context.Context, e Env, out io.Writer) error {
	asJSON, err := ParseListing(e.Args)
	if err != nil {
		return err
	}
	c, err := e.configWithSecrets()
	if err != nil {
		return err
	}
	rows := []webhookRow{
		{"garmin", webhook(c, "garmin"), "deregistrations, permission changes, activities and all else"},
		{"foursquare", webhook(c, "foursquare"), "user push"},
	}
	if asJSON {
		return listAll(out, true, "", rows, nil)
	}
	_, err = fmt.Fprintf(out, "Keep these addresses to yourself.\n"+
		"Garmin, for %s:\n  %s\nFoursquare, for %s:\n  %s\nStrava: server strava subscribe\n",
		rows[0].Purpose, rows[0].URL, rows[1].Purpose, rows[1].URL)
	return err
}

// webhook is where a provider sends its events.
func webhook(c config.Config, provider string) string {
	return c.Site().JoinPath(routes.WebhookPath(provider, c.WebhookKey())).String()
}
