package main

import (
	"cmp"
	"time"

	"cairn/internal/admin"
	"cairn/internal/auth"
	"cairn/internal/jobs"
	"cairn/internal/oauth"
	"cairn/internal/routes"
	"cairn/internal/sandbox"
)

// limits are all time limits of the program, its rate limits, and the cost of a password's hash. A field that is zero
// has its default: the program runs with the zero value, and its tests with values that suit a busy machine.
type limits struct {
	Passwords auth.Cost
	Rates     auth.Limits
	Calls     oauth.Limits
	Pages     routes.Limits
	Jobs      jobs.Limits
	Sandbox   sandbox.Limits

	SessionLookup    time.Duration // as in session.Options
	SessionStatement time.Duration // likewise
	RequestHeader    time.Duration // to be read: 5 s
	Request          time.Duration // to be read: 15 s
	Response         time.Duration // to be written, from the end of the header on: 45 s
	SandboxWork      time.Duration // for background work that calls the sandbox on the listener that is closing: 3 s
	Upkeep           time.Duration // one batch of what upkeep does: 10 s
	Health           time.Duration // as in admin.Limits
	Doctor           time.Duration // likewise
	Message          time.Duration // likewise
	Counting         time.Duration // for what a scrape of the metrics has counted in the database: 2 s
}

func (l limits) withDefaults() limits {
	l.RequestHeader = cmp.Or(l.RequestHeader, 5*time.Second)
	l.Request = cmp.Or(l.Request, 15*time.Second)
	l.Response = cmp.Or(l.Response, 45*time.Second)
	l.SandboxWork = cmp.Or(l.SandboxWork, 3*time.Second)
	l.Upkeep = cmp.Or(l.Upkeep, 10*time.Second)
	return l
}

// admin are the limits of commands.
func (l limits) admin() admin.Limits {
	return admin.Limits{
		Calls: l.Calls, SessionLookup: l.SessionLookup, SessionStatement: l.SessionStatement,
		Health: l.Health, Doctor: l.Doctor, Message: l.Message,
	}
}
