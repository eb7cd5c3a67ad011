package routes

import (
	"cmp"
	"time"
)

// Limits are how long the answer to a request may take, and how often the log tells of an outage. A
// field that is zero has its default.
type Limits struct {
	Probe    time.Duration // to /readyz: a database that takes longer does not want traffic; 3 s
	Page     time.Duration // to one that asks the database only: 10 s
	Provider time.Duration // to one that asks a provider, perhaps three times: 30 s
	Webhook  time.Duration // to a webhook of Strava, which waits 2 s, or of Foursquare: 1.5 s
	Bulk     time.Duration // to one of Garmin, which waits 30 s and sends much at once: 20 s
	Repeat   time.Duration // between two lines of the log about the same outage: 1 minute
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Probe:    cmp.Or(l.Probe, 3*time.Second),
		Page:     cmp.Or(l.Page, 10*time.Second),
		Provider: cmp.Or(l.Provider, 30*time.Second),
		Webhook:  cmp.Or(l.Webhook, 1500*time.Millisecond),
		Bulk:     cmp.Or(l.Bulk, 20*time.Second),
		Repeat:   cmp.Or(l.Repeat, time.Minute),
	}
}
