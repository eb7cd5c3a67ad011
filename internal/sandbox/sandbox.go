// Package sandbox simulates Strava, Garmin Connect and Foursquare on this machine, over HTTP, so
// that the server runs without keys and the tests meet something that behaves like the real three:
// their consent page, token endpoint, who-am-I, recent data, revocation and failures. It is for
// development only and imports nothing of ours.
//
//	sandbox.go     what it is told (Options), where everything is (Endpoints), the URL map
//	store.go       grants, codes and counts in the PostgreSQL schema cairn_sandbox
//	token.go       how tokens are made, looked up, spent, given out again and ended
//	consent.go     the page that asks, and what Allow and Deny do
//	provider.go    the interface of a provider, and the types that implement it
//	strava.go, strava_api.go, strava_quota.go, garmin.go, garmin_api.go,
//	foursquare.go  one provider each: its checks, its answers, its errors
//	modes.go, faults.go, spoil.go
//	               the ways in which a call goes wrong: their names, failing instead of answering, spoiling an answer
//	switches.go    what can be set about a provider, and FailNext
//	quota.go       counting calls for rate limits
//	hooks.go       what providers post to us: sent in the background, tried again, recorded
//	strava_push.go, garmin_push.go, foursquare_push.go
//	               one provider each: who is told, of what, in which shape
//	people.go, picture.go, diary.go, outing.go, route.go, visit.go
//	               made-up people, their pictures, and what they have been doing, deterministic
//	entries.go     what they do when told to: a new activity, a change, a check-in
//	control.go, actions.go
//	               the control page at "/", and the same for tests as methods
//	pages.go       templates, stylesheet, headers
//	request.go     reading queries and headers
//
// All state is in the database: instances share it, it survives restarts, and the database's clock is the only one
// that decides whether a code or token is still good. Codes and tokens are stored as hashes. Only what is being posted
// is in memory.
//
// # Failing on demand
//
// Every call has a switch (Calls) that takes a mode (Modes): SetSwitch(ctx, Strava, Refresh, "502 html") lasts until
// it is set to ModeNone, FailNext(ctx, Strava, Refresh, ModeLost, 1) for one request. Requests counts what came, by
// call, and under Elsewhere what followed a redirect to another host. A provider's quota is a switch too.
//
// # Telling us
//
// Garmin and Foursquare post to the addresses in Options.Hooks. Strava posts to the one there, or to
// the address of Options.Site that has subscribed since. NewActivity, ChangeActivity,
// DeleteActivity, NewCheckin, SetPermissions and RevokeGrant, or their buttons on the control page,
// make something happen to tell of; Deliveries says what became of it.
//
// # Approving without a browser
//
// The consent form is posted to the very URL that showed it, query included, and answers 303 to the redirect URI:
//
//	person      one of "ada", "zofie", "moss", "max"
//	decision    "allow" or "deny"
//	scope       Strava, repeated: the ticked scopes; "read" is granted whenever it was asked for
//	permission  Garmin, repeated: ACTIVITY_EXPORT, HEALTH_EXPORT, HISTORICAL_DATA_EXPORT
//
// The page is shown even to someone who approved before, as there is no provider session that could remember whom
// to sign in; Strava's approval_prompt is therefore accepted and ignored.
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

// Hooks are the addresses that would be set in the providers' portals: where they post what happens. All may be
// empty. Nothing else is called, but for an address at Options.Site that subscribes to Strava's events.
type Hooks struct {
	// Strava is the address that is subscribed without a challenge, in place of any other.
	Strava string

	GarminDeregistrations, GarminPermissions, GarminActivities string
	Foursquare                                                 string
}

// Limits are the times of the simulated providers. A field that is zero is as at the real ones.
type Limits struct {
	Retry                      time.Duration // from an event that was not taken to the next try: 2 minutes
	Strava, Garmin, Foursquare time.Duration // for the answer to an event: 2 s, 30 s, 10 s
	Slow                       time.Duration // an answer in ModeSlow takes: 15 s
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

// Options is what a Sandbox needs.
type Options struct {
	Pool    *pgxpool.Pool
	BaseURL string         // where browsers and the server reach the handler, e.g. "http://127.0.0.1:3001/sandbox"
	Inside  string         // the same for the server alone, where it differs: callback URLs lead there
	Apps    map[string]App // by provider; one that is missing is not simulated
	Hooks   Hooks
	Site    string // origin of ours, like "http://localhost:3001": what may subscribe to Strava's events; "": nothing
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

// New makes the schema where it is missing and returns the providers ready to serve. What they post in the background
// ends with ctx, or with Close.
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

// handler returns an error only when the sandbox itself fails; a refusal that belongs to the play is an answer.
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

// object is a JSON answer spelt out field by field, as the provider documents it.
type object = map[string]any

func writeJSON(w http.ResponseWriter, status int, answer any) error {
	body, err := json.Marshal(answer)
	if err != nil {
		return fmt.Errorf("sandbox: encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // nobody is left to tell when the client has gone
	return nil
}
