// Package sandbox simulates Strava, Garmin Connect and Foursquare on this machine, over HTTP, for development without
// keys and for tests. It has their consent pages, token endpoints, user info, recent data, revocation and failures. It
// imports no other package of Cairn.
//
//	sandbox.go     Options, New, the URL map
//	store.go       grants, codes and counts in the PostgreSQL schema cairn_sandbox
//	token.go       tokens: issued, found, consumed, issued again and revoked
//	consent.go     the consent page, Allow and Deny
//	provider.go    the interface of a provider, and the types that implement it
//	strava.go, strava_api.go, strava_quota.go, garmin.go, garmin_api.go,
//	foursquare.go  one provider each: its checks, its responses, its errors
//	modes.go, faults.go, spoil.go
//	               how calls go wrong: the modes, failing, spoiling a response
//	switches.go    the switches of a provider, and FailNext
//	quota.go       counting calls for rate limits
//	hooks.go       webhooks: sent in the background, with retries, and recorded
//	strava_push.go, garmin_push.go, foursquare_push.go
//	               one provider each: its webhooks
//	mailbox.go     all mail that Cairn sends meanwhile
//	people.go, picture.go, diary.go, activity.go, route.go, checkin.go
//	               made-up people, their pictures and their diaries, deterministic
//	entries.go     additions to diaries and changes: an activity, a check-in
//	control.go, actions.go
//	               the control page at "/"
//	pages.go       templates, stylesheet, headers
//	request.go     reading queries and headers
//
// All state but pending webhooks is in the database: instances share it, and it survives restarts. Codes and tokens
// expire by the database's clock, and are stored as hashes.
//
// # Failing on demand
//
// Every call has a switch (Calls) that takes a mode (Modes): SetSwitch(ctx, Strava, Refresh, "502 html") lasts until it
// is set to ModeNone, FailNext(ctx, Strava, Refresh, ModeLost, 1) for one request. Requests returns the number of
// requests by call, with those that followed a redirect to another host as Elsewhere. A provider's quota is a switch,
// too.
//
// # Webhooks
//
// Garmin and Foursquare post to the addresses in Options.Hooks. Strava posts to the one there, or to the address at
// Options.Site that has subscribed since. NewActivity, ChangeActivity, DeleteActivity, NewCheckin, SetPermissions and
// RevokeGrant, or their buttons on the control page, cause webhooks. Deliveries has their results.
//
// # Approving without a browser
//
// The consent form is posted to the URL of the page, query included. The response is 303 to the redirect URI:
//
//	person      one of "ada", "zofie", "moss", "max"
//	decision    "allow" or "deny"
//	scope       Strava, repeated: the ticked scopes; "read" is granted whenever it was asked for
//	permission  Garmin, repeated: ACTIVITY_EXPORT, HEALTH_EXPORT, HISTORICAL_DATA_EXPORT
//
// The page is shown each time, because the sandbox has no sessions. Strava's approval_prompt is ignored.
package sandbox

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// App is our registration at one provider.
type App struct {
	ClientID, ClientSecret, RedirectURI string
	PushSecret                          string // Foursquare: goes with every push; may be empty
}

// Hooks are the webhook addresses, as they are set in the providers' portals. All may be empty. No other address is
// called, except one at Options.Site that subscribes to Strava's events.
type Hooks struct {
	// Strava is the address that is subscribed without a challenge, instead of any other.
	Strava string

	GarminDeregistrations, GarminPermissions, GarminActivities string
	Foursquare                                                 string
}

// HooksAt are addresses of one site: at returns that of a provider.
func HooksAt(at func(provider string) string) Hooks {
	forGarmin := at(Garmin)
	return Hooks{
		Strava: at(Strava), Foursquare: at(Foursquare),
		GarminDeregistrations: forGarmin, GarminPermissions: forGarmin, GarminActivities: forGarmin,
	}
}

// Limits are the times of the simulated providers. A zero field has the real providers' time.
type Limits struct {
	Retry                      time.Duration // from a failed webhook to the next try: 2 minutes
	Strava, Garmin, Foursquare time.Duration // for the response to a webhook: 2 s, 30 s, 10 s
	Slow                       time.Duration // of a response in ModeSlow: 15 s
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Retry:      cmp.Or(l.Retry, 2*time.Minute),
		Strava:     cmp.Or(l.Strava, 2*time.Second),
		Garmin:     cmp.Or(l.Garmin, 30*time.Second),
		Foursquare: cmp.Or(l.Foursquare, 10*time.Second),
		Slow:       cmp.Or(l.Slow, slowFor),
	}
}

// Options configure a Sandbox.
type Options struct {
	Pool    *pgxpool.Pool
	BaseURL string         // where browsers and the server reach the handler, e.g. "http://127.0.0.1:3001/sandbox"
	Inside  string         // the same for the server alone, if it differs: callback URLs lead there
	Apps    map[string]App // by provider; one that is missing is not simulated
	Hooks   Hooks
	Site    string // our origin, like "http://localhost:3001", which may subscribe to Strava's events; "": none
	Limits  Limits
	Log     *slog.Logger // nil: silent
}

// Sandbox simulates the providers it has an App for.
type Sandbox struct {
	store
	*hooks
	base   string // BaseURL without a slash at its end
	path   string // its path
	inside string
	apps   map[string]App
	hooked Hooks
	site   string
	log    *slog.Logger
	pages  *template.Template
	limits Limits
}

// New creates the schema if it is missing, and returns the providers. Their webhooks end with ctx, or with Close.
func New(ctx context.Context, o Options) (*Sandbox, error) {
	base, err := url.Parse(baseOf(o.BaseURL))
	if err != nil || base.Host == "" || base.Path == "" {
		return nil, fmt.Errorf("sandbox: base URL %q: want one like http://127.0.0.1:3001/sandbox", o.BaseURL)
	}
	for provider, app := range o.Apps {
		if !slices.Contains(keys, provider) {
			return nil, fmt.Errorf("sandbox: unknown provider %q", provider)
		}
		if app.ClientID == "" || app.ClientSecret == "" || app.RedirectURI == "" {
			return nil, fmt.Errorf("sandbox: %s: client id, secret and redirect URI are all needed", provider)
		}
	}
	pages, err := parsePages()
	if err != nil {
		return nil, fmt.Errorf("sandbox: parse pages: %w", err)
	}
	o.Limits = o.Limits.withDefaults()
	s := &Sandbox{
		store:  store{o.Pool},
		hooks:  newHooks(ctx, o.Limits.Retry),
		base:   base.String(),
		path:   base.Path,
		inside: baseOf(cmp.Or(o.Inside, o.BaseURL)),
		apps:   o.Apps,
		hooked: o.Hooks,
		site:   o.Site,
		log:    o.Log,
		pages:  pages,
		limits: o.Limits,
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := s.setUp(ctx); err != nil {
		return nil, err
	}
	return s, strava{s}.subscribe(ctx, o.Hooks.Strava)
}

func baseOf(address string) string { return strings.TrimRight(address, "/") }

// Handler serves everything below the base URL's path, which it expects in the request.
func (s *Sandbox) Handler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, h handler) {
		method, path, found := strings.Cut(pattern, " ")
		if !found {
			method, path = "", pattern
		}
		mux.Handle(strings.TrimSpace(method+" "+s.path+path), s.catch(h))
	}
	handle("/", s.notFound)
	handle("GET /{$}", s.controlPage)
	handle("GET /style.css", s.asset("style.css"))
	handle("GET /icon.svg", s.asset("icon.svg"))
	handle("GET /people/{size}/{picture}", s.picture)
	handle("GET /mail", s.mailboxPage)
	handle("GET /mail/{id}", s.openMail)
	handle("/elsewhere/{provider}", s.atElsewhere)
	handle("POST /control/{provider}/switches", s.postSwitches)
	handle("POST /control/{provider}/expire", s.postExpire)
	handle("POST /control/{provider}/usage", s.postForgetUsage)
	handle("POST /control/grants/{id}/act", s.postAct)
	handle("POST /control/grants/{id}/revoke", s.postRevoke)
	handle("POST /control/grants/{id}/pull", s.postPull)
	for _, p := range s.providers() {
		p.mount(handle)
	}
	return mux
}

// handler returns an error if the sandbox itself fails. A simulated refusal is a response.
type handler func(w http.ResponseWriter, r *http.Request) error

func (s *Sandbox) catch(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		if err == nil || r.Context().Err() != nil {
			return
		}
		s.log.ErrorContext(r.Context(), "sandbox failed", "path", r.URL.Path, "error", err)
		http.Error(w, "The sandbox itself failed; the server's log says why.", http.StatusInternalServerError)
	})
}

// object is a JSON object with the fields that the provider documents.
type object = map[string]any

func writeJSON(w http.ResponseWriter, status int, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("sandbox: encode response: %w", err)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // fails when the client has gone
	return nil
}
