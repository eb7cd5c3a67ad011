package config

import (
	"cairn/internal/oauth/foursquare"
	"cairn/internal/oauth/garmin"
	"cairn/internal/oauth/strava"
)

// Providers returns every provider, in the order in which pages show them. Other packages get them as an
// oauth.Registry and name none. The callbacks are those of the Node server, because operators have registered them.
func Providers() []Provider {
	return []Provider{
		{
			Key: garmin.Key, Prefix: "GARMIN", Callback: "/api/garmin/callback", Make: garmin.New,
			earlierID: "GARMIN_CONSUMER_KEY", earlierSecret: "GARMIN_CONSUMER_SECRET",
		},
		{
			Key: foursquare.Key, Prefix: "FOURSQUARE", Callback: "/api/auth/callback", Make: foursquare.New,
			pushSecret: "FOURSQUARE_PUSH_SECRET",
		},
		{
			Key: strava.Key, Prefix: "STRAVA", Callback: "/api/strava/auth/callback", Make: strava.New,
			verifyToken: "strava verify token",
		},
	}
}
