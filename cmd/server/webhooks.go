package main

import (
	"context"
	"fmt"
	"io"

	"cairn/internal/routes"
)

const aboutWebhooks = `
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

// webhooksCommand prints the addresses that are entered at providers by hand.
func webhooksCommand(_ context.Context, e env, out io.Writer) error {
	asJSON, err := parseListing(e.args)
	if err != nil {
		return err
	}
	config, err := e.config()
	if err != nil {
		return err
	}
	if config, err = withSecrets(config); err != nil {
		return err
	}
	at := func(provider string) string {
		return config.site().JoinPath(routes.WebhookPath(provider, webhookKey(config))).String()
	}
	rows := []webhookRow{
		{"garmin", at("garmin"), "deregistrations, permission changes, activities and all else"},
		{"foursquare", at("foursquare"), "user push"},
	}
	if asJSON {
		return listAll(out, true, "", rows, nil)
	}
	_, err = fmt.Fprintf(out, "Keep these addresses to yourself.\n"+
		"Garmin, for %s:\n  %s\nFoursquare, for %s:\n  %s\nStrava: server strava subscribe\n",
		rows[0].Purpose, rows[0].URL, rows[1].Purpose, rows[1].URL)
	return err
}
