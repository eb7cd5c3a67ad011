package process

import (
	"encoding/json"
	"time"

	"cairn/internal/auth"
	"cairn/internal/jobs"
	"cairn/internal/oauth"
	"cairn/internal/routes"
	"cairn/internal/sandbox"
	"cairn/internal/testkit"
)

// Limits has the same fields as the limits of cmd/server, which converts them.
type Limits struct {
	Passwords auth.Cost
	Rates     auth.Limits
	Calls     oauth.Limits
	Pages     routes.Limits
	Jobs      jobs.Limits
	Sandbox   sandbox.Limits

	SessionLookup    time.Duration
	SessionStatement time.Duration
	RequestHeader    time.Duration
	Request          time.Duration
	Response         time.Duration
	SandboxWork      time.Duration
	Upkeep           time.Duration
	Health           time.Duration
	Doctor           time.Duration
	Mail             time.Duration
	Counting         time.Duration
}

// Variable returns the variable that gives these limits to a test binary that plays the server.
func (l Limits) Variable() string {
	text, err := json.Marshal(l)
	if err != nil {
		panic(err)
	}
	return PlaysServer + "=" + string(text)
}

// Patient returns limits that a busy machine does not reach, for tests that are not about limits.
func Patient() Limits {
	const long = testkit.Patience
	return Limits{
		Passwords: auth.Cost{Memory: 64, Passes: 1},
		Rates:     Untiring(),
		Calls:     oauth.Limits{Call: long, Queue: long, Statement: long},
		Pages: routes.Limits{
			Probe: long, Page: long, Provider: long, Webhook: long, Bulk: long, Write: long,
		},
		Jobs:    jobs.Limits{Job: 4 * time.Minute}, // less than Rescue, for which a test may have to wait
		Sandbox: patientSandbox(),

		// A server that stops waits this long for silent connections, so it is less than SHUTDOWN_TIMEOUT.
		RequestHeader: 20 * time.Second,
		SessionLookup: long, SessionStatement: long, Request: long, Response: 2 * long,
		SandboxWork: long, Upkeep: long, Health: long,
		Doctor: long, Mail: long, Counting: long,
	}
}

// patientSandbox returns the limits of a sandbox for such servers.
func patientSandbox() sandbox.Limits {
	return sandbox.Limits{Strava: testkit.Patience, Garmin: testkit.Patience, Foursquare: testkit.Patience,
		Slow: testkit.Patience, Retry: 50 * time.Millisecond}
}

// Untiring returns rate limits for tests that do in a moment what people do in a week.
func Untiring() auth.Limits {
	l := auth.DefaultLimits()
	for _, often := range []*auth.Limit{&l.BeginPerson, &l.BeginNetwork, &l.CallPause, &l.CallHour, &l.CallNetwork,
		&l.ChangePerson, &l.ChangeNetwork, &l.FinishBrowser, &l.FinishAccount, &l.FinishNetwork} {
		often.Max = 1_000_000
	}
	return l
}
