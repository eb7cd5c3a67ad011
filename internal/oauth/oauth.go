// Package oauth connects people's Garmin, Foursquare and Strava accounts. It speaks no HTTP to browsers.
//
//	oauth.go       what a provider is; kinds of errors
//	limits.go      time limits and their defaults
//	client.go      the calls to providers: bounded in time and size, no redirects, errors without secrets
//	answer.go      token answers that are odd, and can be understood
//	gate.go        how many calls to a provider are under way at the same time
//	quota.go       how many are allowed: one budget for all instances
//	told.go        what answers tell of that: quotas, Retry-After
//	strava.go, garmin.go, foursquare.go   one provider each: addresses, permissions, who-am-I, revocation
//	strava_push.go   the subscription to Strava's events
//	attempt.go     begin and finish one attempt: single use, bound to the browser that began it
//	connection.go  connections and their sealed tokens
//	state.go       how a connection is, why, and its history
//	token.go       a usable access token; the one way to refresh
//	ask.go         asking a provider about a connection, and what its answer says about it
//	overview.go    what people see of their connections
//	idle.go        tokens that would lapse because nobody uses them, and refreshes that were cut off
//	notice.go      connections that need an owner who has not been told of it
//	disconnect.go  disconnecting: what was a connection becomes a withdrawal
//	withdrawal.go  telling the provider until it confirms
//	rekey.go       sealing tokens anew after a change of keys
//
// One DELETE … RETURNING removes the row of an attempt before anything else is looked at. A refresh
// is made by the one instance that holds the connection's lease: it re-reads the tokens when it
// gets the lease, and stores the new pair, fenced by the lease, before anybody uses it. If the
// database is away then, the instance tries again until the lease is over. Others wait for as long
// as a call can take, and share a failure. A call to a provider is counted in its budget before it
// is sent, by one statement that all instances share; it is not sent if the budget is spent, or if
// the provider has asked for no calls. No database connection is held while a provider is asked.
package oauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"cairn/internal/text"
)

// Provider is what we know of one provider: addresses, manners, and how to read its answers. The three are made by
// Strava, Garmin and Foursquare.
type Provider struct {
	Key       string // "strava"; also in routes and in the database
	Name      string // as people call it
	FullName  string // as its brand rules want it where people connect; Name if empty
	Config    oauth2.Config
	API       string // base address of the API
	Revoke    string // address that takes tokens back; unused where the API does
	ManageURL string // where people see our access at the provider
	Hosts     string // CSP source of pages the consent page may pass through, "" if none are known

	Permissions []Permission // that we ask for, or look at
	PKCE        bool
	// RefreshEarly is how long before its end an access token counts as over. AssumedLife is how
	// long a token is taken to live where the provider does not say it; 0: for ever.
	RefreshEarly, AssumedLife time.Duration
	// RefreshIdle is after how long unused tokens are refreshed, well before they lapse; 0: they do not.
	RefreshIdle time.Duration

	// PictureHosts are where the pictures of people are: "x.example.com", or "*.example.com" for every host below it.
	PictureHosts []string

	authParams []oauth2.AuthCodeOption
	// tellsQuota says that answers tell how much of our application's quota is used, as Strava's do.
	tellsQuota bool
	// limitsEach says that the provider limits the calls about each person, and not those of the application.
	limitsEach bool
	// forbidsUnknown says that the API refuses a token it does not know any more with 403; 401 is for one that is over.
	forbidsUnknown bool
	// pushes says that data comes by itself. Anything we fetch besides was named by others, so its
	// refusal says nothing about a connection.
	pushes bool
	// authorize puts an access token into a query; nil: it goes into the header.
	authorize func(query url.Values, accessToken string)
	whoAmI    func(ctx context.Context, c *caller, accessToken string) (Account, error)
	// accountOf reads whose account it is from the answer to a code; nil: the provider does not say it there.
	accountOf func(p *Provider, t *oauth2.Token) (Account, bool)
	// revoke takes any of the tokens back. revokeByAccess needs an access token that is alive, and
	// is for where revoke is nil or has no address. Both nil: the provider can't be told.
	revoke         func(ctx context.Context, c *caller, t *oauth2.Token) error
	revokeByAccess func(ctx context.Context, c *caller, accessToken string) error
	// grantedOf reads the granted permissions from the callback and the token answer, where the provider tells there.
	grantedOf func(callback url.Values, t *oauth2.Token) []string
}

// Permission is something a person can grant, in the provider's word and in ours.
type Permission struct {
	Key, Words string
	Needed     bool
}

// Account is whose account at a provider it is.
type Account struct {
	Subject    string // the provider's own, immutable id
	Name       string // may be empty
	PictureURL string // an address that is fit to be a link, or empty
	Granted    []string
}

// Endpoints are the addresses of a provider. Empty ones keep their defaults.
type Endpoints struct{ Authorize, Token, API, Revoke string }

// App is our registration at a provider.
type App struct {
	ClientID, ClientSecret, RedirectURL string
	Endpoints
}

// Error is a provider's refusal or silence. It carries nothing of the answer's text, which may contain tokens.
type Error struct {
	Provider string
	Call     string // "exchange", "refresh", "who-am-I", "permissions", "data", "revoke"
	Kind     error  // ErrRefused, ErrNotPermitted, ErrUnfit, ErrRateLimited, ErrQuotaSpent or ErrUnavailable
	Status   int    // HTTP status, 0 if there was no answer
	Code     string // the provider's short code, where it is a known one
	// Until is when the provider may be asked again, zero if that is not known. Nobody asks it before.
	Until time.Time

	unsent bool // it was not even asked
}

func (e *Error) Error() string {
	if e.unsent {
		return fmt.Sprintf("oauth: %s: %s: not asked: %v", e.Provider, e.Call, e.Kind)
	}
	return fmt.Sprintf("oauth: %s: %s: %v (status %d, code %q)", e.Provider, e.Call, e.Kind, e.Status, e.Code)
}

func (e *Error) Unwrap() error { return e.Kind }

// AppRefused tells whether the error is about our application, not about a person: Strava's 403
// says that the application is inactive, or has as many people as it may.
func (e *Error) AppRefused() bool {
	return e.Provider == "strava" && e.Status == http.StatusForbidden
}

// TooManyPeople tells that Strava has as many people as it allows our application (docs/providers.md, 2.4).
func (e *Error) TooManyPeople() bool {
	return e.Provider == "strava" && e.Status == http.StatusForbidden &&
		e.Code == "Application" && (e.Call == "exchange" || e.Call == "refresh")
}

func statusIs(err error, status int) bool {
	failed, ok := errors.AsType[*Error](err)
	return ok && failed.Status == status
}

// Kinds of errors. Only ErrRefused is definite; the others say nothing about a connection.
var (
	ErrRefused      = errors.New("the provider refused")
	ErrNotPermitted = errors.New("the person has not permitted this at the provider")
	ErrUnfit        = errors.New("the provider does not answer this request, or not again")
	ErrRateLimited  = errors.New("the provider asks us to slow down")
	ErrUnavailable  = errors.New("the provider did not answer usably")
	// ErrQuotaSpent is an ErrRateLimited that lasts until the next UTC day.
	ErrQuotaSpent = fmt.Errorf("%w until tomorrow", ErrRateLimited)

	ErrAttempt      = errors.New("oauth: no such attempt")
	ErrOtherBrowser = errors.New("oauth: the attempt belongs to another browser or user")
	ErrDenied       = errors.New("oauth: the person declined")
	ErrNotFound     = errors.New("oauth: no such connection")
	ErrReconnect    = errors.New("oauth: the connection has to be made again")
	ErrHeld         = errors.New("oauth: another call about this connection is under way")
	ErrOtherAccount = errors.New("oauth: another account of this provider is connected")
)

// named returns whose account it is, if the answer to a code says so.
func (p *Provider) named(t *oauth2.Token) (Account, bool) {
	if p.accountOf == nil {
		return Account{}, false
	}
	return p.accountOf(p, t)
}

// AuthorizeSources are the CSP sources that the consent page of a provider needs in form-action, because browsers apply
// it to the redirects that follow a form.
func (p *Provider) AuthorizeSources() []string {
	u, err := url.Parse(p.Config.Endpoint.AuthURL)
	if err != nil {
		return nil
	}
	sources := []string{u.Scheme + "://" + u.Host}
	if domain, ok := strings.CutPrefix(p.Hosts, "https://*"); ok && strings.HasSuffix("."+u.Hostname(), domain) {
		sources = append(sources, p.Hosts)
	}
	return sources
}

// CallbackPath is where browsers come back to, on our site.
func (p *Provider) CallbackPath() string {
	u, err := url.Parse(p.Config.RedirectURL)
	if err != nil {
		return ""
	}
	return u.Path
}

// Keys are the providers that can be made here.
func Keys() []string { return []string{"garmin", "foursquare", "strava"} }

// Revocable tells whether the provider can be told that we no longer want access.
func (p *Provider) Revocable() bool { return p.revokeByAccess != nil }

// Missing returns the needed permissions that are not among the granted ones, in words.
func (p *Provider) Missing(granted []string) (words []string) {
	for _, permission := range p.Permissions {
		if permission.Needed && !slices.Contains(granted, permission.Key) {
			words = append(words, permission.Words)
		}
	}
	return words
}

// InWords returns granted permissions in words; unknown ones keep the provider's word.
func (p *Provider) InWords(granted []string) (words []string) {
	for _, key := range granted {
		word := key
		if i := slices.IndexFunc(p.Permissions, func(p Permission) bool { return p.Key == key }); i >= 0 {
			word = p.Permissions[i].Words
		}
		words = append(words, word)
	}
	return words
}

// newProvider fills in what all three providers share: credentials in the body (if that is not set,
// x/oauth2 tries twice and burns the code) and addresses that configuration may change.
func newProvider(p Provider, app App, standard Endpoints) *Provider {
	p.Config.ClientID, p.Config.ClientSecret, p.Config.RedirectURL = app.ClientID, app.ClientSecret, app.RedirectURL
	p.Config.Endpoint = oauth2.Endpoint{
		AuthURL:   cmp.Or(app.Authorize, standard.Authorize),
		TokenURL:  cmp.Or(app.Token, standard.Token),
		AuthStyle: oauth2.AuthStyleInParams,
	}
	p.API, p.Revoke = cmp.Or(app.API, standard.API), cmp.Or(app.Revoke, standard.Revoke)
	return &p
}

// link returns an address if it can be shown as a link: one with https, or one at the provider's
// own API, which may be simulated on this machine. Every other address is dropped.
func (p *Provider) link(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || len(address) > 2048 ||
		u.Scheme != "https" && !strings.HasPrefix(p.API, u.Scheme+"://"+u.Host+"/") {
		return ""
	}
	return u.String()
}

// maxName is how many characters of a name are kept.
const maxName = 100

func personName(parts ...string) string { return text.Clean(maxName, parts...) }

// maxPermissions and maxPermission are beyond what any provider has, in number and in characters.
const maxPermissions, maxPermission = 32, 64

// permissionsOf makes what a provider says is granted fit to be kept.
func permissionsOf(granted []string) []string {
	permissions := []string{}
	for _, key := range granted {
		if key = text.Clean(maxPermission, key); key != "" && len(permissions) < maxPermissions {
			permissions = append(permissions, key)
		}
	}
	return permissions
}

func bearer(r *http.Request, accessToken string) *http.Request {
	r.Header.Set("Authorization", "Bearer "+accessToken)
	return r
}
