package sandbox

import (
	"context"
	"fmt"
	"net/http"
)

// The three providers, as Options.Apps and everything else name them.
const (
	Strava     = "strava"
	Garmin     = "garmin"
	Foursquare = "foursquare"
)

// keys are the providers in the order of the control page.
var keys = []string{Strava, Garmin, Foursquare}

// provider is one simulated provider: its own checks, responses and errors.
type provider interface {
	describe() description
	endpoints(base string) Endpoints
	mount(handle func(pattern string, h handler))
	controls() []control                 // its switches, beside those that all providers have
	subject(p person) string             // the person's id there
	failure(call string, status int) any // the body of an error with that status
	// meter counts an API call, writes the headers about the quota, and returns the refusal if the quota is spent.
	meter(h http.Header, r *http.Request, call string) (refusal func(http.ResponseWriter) error, err error)
	actions() []action                               // of people at the provider
	revoked(ctx context.Context, g Grant) error      // sends the event of a revocation
	destination(ctx context.Context) (string, error) // where events go, in words; "": see the switches
}

// description is what is fixed about a provider.
type description struct {
	key, name string
	calls     []string // that can be made to fail
	expires   bool     // its access tokens expire
	metered   bool     // it has a quota
	scoped    bool     // a grant has permissions
	pulls     bool     // activities are fetched from a URL that a ping has
}

// Each provider has a type of its own. The zero value is good for what needs no Sandbox.
type (
	strava     struct{ *Sandbox }
	garmin     struct{ *Sandbox }
	foursquare struct{ *Sandbox }
)

// providerOf panics for an unknown provider: that is a mistake in the caller.
func providerOf(s *Sandbox, key string) provider {
	switch key {
	case Strava:
		return strava{s}
	case Garmin:
		return garmin{s}
	case Foursquare:
		return foursquare{s}
	}
	panic(fmt.Sprintf("sandbox: unknown provider %q", key))
}

// Endpoints are the addresses that a client of one provider needs.
type Endpoints struct {
	Authorize string // opened in the browser
	Token     string
	// API is the base of the real API's paths: "/athlete", "/wellness-api/rest/user/id", "/users/self".
	API    string
	Revoke string // Strava: POST, with ".../oauth/deauthorize" beside it; Garmin: DELETE; Foursquare has none
}

// EndpointsOf returns where a provider is simulated below baseURL.
func EndpointsOf(baseURL, key string) Endpoints {
	return providerOf(nil, key).endpoints(baseOf(baseURL) + "/" + key)
}

// Calls lists the calls of a provider that can be made to fail.
func Calls(key string) []string { return providerOf(nil, key).describe().calls }

// simulated returns a provider, if it is simulated here. Its key may come from a URL.
func (s *Sandbox) simulated(key string) (provider, bool) {
	if _, ok := s.apps[key]; !ok {
		return nil, false
	}
	return providerOf(s, key), true
}

// providers lists the providers that are simulated here.
func (s *Sandbox) providers() (simulated []provider) {
	for _, key := range keys {
		if p, ok := s.simulated(key); ok {
			simulated = append(simulated, p)
		}
	}
	return simulated
}
