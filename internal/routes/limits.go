package routes

import (
	"cmp"
	"time"
)

// Limits are how long an answer may take, how many downloads there are at a time, and how often an outage is logged. A
// field that is zero has its default.
type Limits struct {
	Probe     time.Duration // of /readyz: a database that takes longer can't serve traffic; 3 s
	Page      time.Duration // of requests that use the database only; 10 s
	Provider  time.Duration // of requests that call a provider, up to three times; 30 s
	Webhook   time.Duration // of webhooks from Strava, which waits 2 s, and from Foursquare; 1.5 s
	Bulk      time.Duration // of webhooks from Garmin, which waits 30 s and sends much at once; 20 s
	Download  time.Duration // of a download of a person's data; 1 hour
	Write     time.Duration // of each write of a download, so until a reader that has stopped is cut off; 30 s
	Downloads int           // at a time, each of another person; 2
	Repeat    time.Duration // between two log lines about the same outage; 1 minute
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Probe:     cmp.Or(l.Probe, 3*time.Second),
		Page:      cmp.Or(l.Page, 10*time.Second),
		Provider:  cmp.Or(l.Provider, 30*time.Second),
		Webhook:   cmp.Or(l.Webhook, 1500*time.Millisecond),
		Bulk:      cmp.Or(l.Bulk, 20*time.Second),
		Download:  cmp.Or(l.Download, time.Hour),
		Write:     cmp.Or(l.Write, 30*time.Second),
		Downloads: cmp.Or(l.Downloads, 2),
		Repeat:    cmp.Or(l.Repeat, time.Minute),
	}
}
