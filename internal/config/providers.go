package config

import (
	"cairn/internal/oauth/foursquare"
	"cairn/internal/oauth/garmin"
	"cairn/internal/oauth/strava"
)

// Providers registers every provider, in the order in which they are shown. It is the one place that names them: all
// else knows them as oauth.Registry. Callbacks are where the Node server had them, because they are registered there.
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
