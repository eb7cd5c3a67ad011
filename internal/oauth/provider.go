package oauth

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"cairn/internal/text"
)

// Provider is one provider: its fields describe it, and its Adapter makes its calls.
type Provider struct {
	Key       string // "strava"; also in routes and in the database
	Name      string // as people call it
	FullName  string // the name that its brand rules want where people connect; "": Name
	Config    oauth2.Config
	API       string // base address of the API
	Revoke    string // address of revocation; unused if that is part of the API
	ManageURL string // where people see our access at the provider
	// OtherNames are further names that people use.
	OtherNames []string
	Offer      string // what connecting it brings, in a sentence
	// Button is what its brand rules want on a button that leads to it, with the class KEY-connect; "": nothing.
	Button      string
	Attribution string // that its brand rules want beside its data; "": none
	Hosts       string // CSP source of pages that the consent page may lead through; "": none are known
	TwoStep     bool   // it has two-step verification of its own (docs/providers.md, 1.2)
	// WebhookSecret proves that a webhook comes from the provider, if it sends such a secret; "": none is known.
	WebhookSecret string

	Permissions []Permission // that we ask for, or look at
	PKCE        bool
	AuthParams  []oauth2.AuthCodeOption // besides the usual ones
	// RefreshEarly is how long before its expiry an access token counts as expired. AssumedLife is how
	// long a token is valid if the provider does not say that; 0: for ever.
	RefreshEarly, AssumedLife time.Duration
	// RefreshIdle is when unused tokens are refreshed, well before they expire; 0: they don't expire.
	RefreshIdle time.Duration

	// PictureHosts have people's pictures: "x.example.com", or "*.example.com" for every host below it.
	PictureHosts []string
	// KeepPictures is how long a picture may be kept if it can't be fetched again; 0: not at all.
	KeepPictures time.Duration

	// RegistersDomain says that the callback is registered at the provider by its domain alone.
	RegistersDomain bool
	Deadlines       []Deadline // that the provider has announced
	// Moved says why people who were connected by another server have to connect again; "": no reason of its own.
	Moved string

	// The following functions are for providers that differ from most; nil: this one does not.

	// Authorize puts an access token into a query instead of the header.
	Authorize func(query url.Values, accessToken string)
	// APIError returns the short code of a failure of the API, if it is known, and what it means; nil: what the
	// status says.
	APIError func(call string, status int, body []byte) (code string, kind error)
	// TokenError is APIError for the token address, for errors without a code of the standard.
	TokenError func(status int, body []byte) (code string, kind error)
	// RateLimit reads from an answer how much of our application's quota is left.
	RateLimit func(http.Header) RateLimit
	// AccountOf reads whose account it is from the answer to a code.
	AccountOf func(p *Provider, t *oauth2.Token) (Account, bool)
	// GrantedOf reads the granted permissions from the callback and the token answer.
	GrantedOf func(callback url.Values, t *oauth2.Token) []string

	Adapter
}

// Adapter makes a provider's calls. Features ask it for what else they need by interfaces of their own:
// connection.Revoker, activity.Source, webhook.Receiver.
type Adapter interface {
	// UserInfo asks whose account an access token is for. Errors: *Error.
	UserInfo(ctx context.Context, c *Caller, accessToken string) (Account, error)
}

// Permission is something a person can grant, in the provider's word and in ours.
type Permission struct {
	Key, Words string
	Needed     bool
}

// Account is an account at a provider.
type Account struct {
	Subject    string // the provider's own, immutable id
	Name       string // may be empty
	PictureURL string // an address that may be a link (Provider.Link), or empty
	Granted    []string
}

// Deadline is a change that a provider has announced.
type Deadline struct {
	Day   time.Time
	Words string
	// Open reports whether an operator has something to do before that day; nil: no.
	Open func(p *Provider) bool
}

// Endpoints are the addresses of a provider. Empty ones keep their defaults.
type Endpoints struct{ Authorize, Token, API, Revoke string }

// App is our registration at a provider.
type App struct {
	ClientID, ClientSecret, RedirectURL string
	WebhookSecret                       string
	Endpoints
}

// For fills in our registration, the addresses, which configuration may change, and that credentials go into the body:
// without that, x/oauth2 would try both ways and spend the code.
func (p Provider) For(app App, standard Endpoints) *Provider {
	p.Config.ClientID, p.Config.ClientSecret, p.Config.RedirectURL = app.ClientID, app.ClientSecret, app.RedirectURL
	p.Config.Endpoint = oauth2.Endpoint{
		AuthURL:   cmp.Or(app.Authorize, standard.Authorize),
		TokenURL:  cmp.Or(app.Token, standard.Token),
		AuthStyle: oauth2.AuthStyleInParams,
	}
	p.API, p.Revoke = cmp.Or(app.API, standard.API), cmp.Or(app.Revoke, standard.Revoke)
	p.WebhookSecret = app.WebhookSecret
	return &p
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

// Missing returns the needed permissions that are not among the granted ones, in words.
func (p *Provider) Missing(granted []string) (words []string) {
	for _, permission := range p.Permissions {
		if permission.Needed && !slices.Contains(granted, permission.Key) {
			words = append(words, permission.Words)
		}
	}
	return words
}

// InWords returns granted permissions in our words. An unknown one keeps the provider's word.
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

// maxAddress is how many bytes an address from a provider may have.
const maxAddress = 2048

// Link returns an address if it may be shown as a link, otherwise "": it has to have https, or to be at the provider's
// own API, which may be simulated on this machine.
func (p *Provider) Link(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || len(address) > maxAddress ||
		u.Scheme != "https" && !strings.HasPrefix(p.API, u.Scheme+"://"+u.Host+"/") {
		return ""
	}
	return u.String()
}

// Owns reports whether an address is on the host of the provider's API.
func (p *Provider) Owns(address string) bool {
	api, err := url.Parse(p.API)
	if err != nil {
		return false
	}
	u, err := url.Parse(address)
	return err == nil && u.Scheme == api.Scheme && u.Host == api.Host && u.User == nil && len(address) <= maxAddress
}

// Fail returns an *Error of a call to the provider.
func (p *Provider) Fail(call string, kind error, status int, code string) error {
	return &Error{Provider: p.Key, Call: call, Kind: kind, Status: status, Code: code}
}

// Request makes a GET of the provider's API, with an access token where the provider wants it.
func (p *Provider) Request(path string, query url.Values, accessToken string) (*http.Request, error) {
	r, err := http.NewRequest(http.MethodGet, p.API+path, nil)
	if err != nil {
		return nil, err
	}
	if query == nil {
		query = url.Values{}
	}
	if p.Authorize == nil {
		Bearer(r, accessToken)
	} else {
		p.Authorize(query, accessToken)
	}
	r.URL.RawQuery = query.Encode()
	return r, nil
}

// Bearer puts an access token into the header of a request.
func Bearer(r *http.Request, accessToken string) *http.Request {
	r.Header.Set("Authorization", "Bearer "+accessToken)
	return r
}

// maxName is how many characters of a name are kept.
const maxName = 100

// PersonName joins the parts of a name, fit for display.
func PersonName(parts ...string) string { return text.Clean(maxName, parts...) }

// maxPermissions and maxPermission are beyond what any provider has, in number and in characters.
const maxPermissions, maxPermission = 32, 64

// Granted returns permissions that a provider says are granted, fit to be stored.
func Granted(permissions []string) []string {
	granted := []string{}
	for _, key := range permissions {
		if key = text.Clean(maxPermission, key); key != "" && len(granted) < maxPermissions {
			granted = append(granted, key)
		}
	}
	return granted
}

// Registry is all providers that the program knows, in the order in which they are shown.
type Registry []*Provider

// Keys returns the keys of all providers, whether we are registered there or not.
func (r Registry) Keys() []string {
	keys := make([]string, len(r))
	for i, p := range r {
		keys[i] = p.Key
	}
	return keys
}

// Names returns all names that people use for the providers.
func (r Registry) Names() (names []string) {
	for _, p := range r {
		names = append(names, p.Name, p.FullName)
		names = append(names, p.OtherNames...)
	}
	return names
}

// Usable returns the providers at which we are registered.
func (r Registry) Usable() (usable Registry) {
	for _, p := range r {
		if p.Config.ClientID != "" {
			usable = append(usable, p)
		}
	}
	return usable
}

// Get returns the usable provider with a key, nil if there is none.
func (r Registry) Get(key string) *Provider {
	for _, p := range r.Usable() {
		if p.Key == key {
			return p
		}
	}
	return nil
}
