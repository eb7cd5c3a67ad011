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

// limits are the program's time limits, its rate limits, and the cost of hashing a password. A zero field stands for
// its default. The program runs with the zero value, and tests with limits that suit a busy machine.
type limits struct {
	Passwords auth.Cost
	Rates     auth.Limits
	Calls     oauth.Limits
	Pages     routes.Limits
	Jobs      jobs.Limits
	Sandbox   sandbox.Limits

	SessionLookup    time.Duration // as in session.Options
	SessionStatement time.Duration // likewise
	RequestHeader    time.Duration // to read the header of a request: 5 s
	Request          time.Duration // to read a request: 15 s
	Response         time.Duration // from the end of a request's header to the end of the response: 45 s
	SandboxWork      time.Duration // at a stop, for background work that calls our own sandbox: 3 s
	Upkeep           time.Duration // for one batch of upkeep: 10 s
	Health           time.Duration // as in admin.Limits
	Doctor           time.Duration // likewise
	Mail             time.Duration // for everything about one message by mail: 30 s
	Counting         time.Duration // for counting in the database at a scrape: 2 s
}

func (l limits) withDefaults() limits {
	l.RequestHeader = cmp.Or(l.RequestHeader, 5*time.Second)
	l.Request = cmp.Or(l.Request, 15*time.Second)
	l.Response = cmp.Or(l.Response, 45*time.Second)
	l.SandboxWork = cmp.Or(l.SandboxWork, 3*time.Second)
	l.Upkeep = cmp.Or(l.Upkeep, 10*time.Second)
	return l
}

// admin returns the limits of commands.
func (l limits) admin() admin.Limits {
	return admin.Limits{
		Calls: l.Calls, SessionLookup: l.SessionLookup, SessionStatement: l.SessionStatement,
		Health: l.Health, Doctor: l.Doctor,
	}
}
