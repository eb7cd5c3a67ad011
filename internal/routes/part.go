package routes

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"

	"github.com/go-chi/chi/v5"

	"cairn/internal/access"
	"cairn/internal/auth"
	"cairn/internal/export"
	"cairn/internal/oauth"
	"cairn/internal/session"
)

// Part is a part of the site that lives in a package of its own. Each field may be zero.
type Part struct {
	// Links are the addresses at which its secret links arrive.
	Links []SecretLink
	// Routes adds its routes. They are pages, behind the session.
	Routes func(Site, chi.Router)
	// API adds routes that look for no session. Those that Foreign lists, as "POST /path", may be called from other
	// sites.
	API     func(Site, chi.Router)
	Foreign []string
	// Unknown answers a request that no route is for. If it returns nil, our page does.
	Unknown func(Site, *http.Request) http.Handler
	// Returns finish attempts at providers that the part began, by what it gave Site.Begin as their return paths. Those
	// are no paths: people's own begin with a slash, and must not lead here.
	Returns map[string]Return
	// Exports are what it adds to the archive that a person downloads.
	Exports []export.Part
	// Section returns what it adds to the account page of the signed-in person, nil if nothing.
	Section func(*http.Request) (*Section, error)
	// LockOut is part of locking others out of an account.
	LockOut access.LockOut
	// Methods say in words how a session began that has one of its methods: "with your private link".
	Methods map[string]string
	// Notices say what visitors read at an address with ?notice=, by code.
	Notices map[string]func(Site) string
}

// Return finishes an attempt at a provider, and redirects.
type Return func(Site, http.ResponseWriter, *http.Request, oauth.Attempt) error

// Section is a section of the account page.
type Section struct {
	ID, Icon, Heading, Text string
	Action                  Link
	Notice                  *notice // is filled in
}

// Site is what a part shares with the rest of the site.
type Site struct{ s *server }

// Page turns the error of a handler into an error page.
func (t Site) Page(h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return t.s.handle(h)
}

// Limited refuses a request over the limits of a change.
func (t Site) Limited() func(http.Handler) http.Handler { return t.s.limited(t.s.changes) }

// Allow counts an action, and returns a *auth.LimitError if a limit is exceeded.
func (t Site) Allow(r *http.Request, counts ...auth.Count) error {
	return t.s.Accounts.Allow(r.Context(), counts...)
}

// Limits are all rate limits.
func (t Site) Limits() auth.Limits { return t.s.Accounts.Limits }

// Address is the client's.
func (t Site) Address(r *http.Request) string { return address(r) }

// Ask shows the page before an act. Its form posts to the address of the page.
func (t Site) Ask(w http.ResponseWriter, r *http.Request, v Warning) error {
	w.Header().Set("Cache-Control", "no-store") // it may name an account to a visitor
	return t.s.warn(w, r, v)
}

// MustSignIn lets only signed-in people through, and asks others to sign in.
func (t Site) MustSignIn(next http.Handler) http.Handler { return mustSignIn(next) }

// Account returns an account. Errors: auth.ErrNotFound.
func (t Site) Account(ctx context.Context, userID int64) (auth.Account, error) {
	return t.s.Accounts.Get(ctx, userID)
}

// Enabled checks that a user without a session may use the account. Errors: auth.ErrNotFound, auth.ErrDisabled.
func (t Site) Enabled(r *http.Request, userID int64) error {
	return t.s.Accounts.Enabled(r.Context(), userID)
}

// PublicURL is where browsers reach us.
func (t Site) PublicURL() *url.URL { return t.s.PublicURL }

// AllowChange counts a change of rows of a user who has no session.
func (t Site) AllowChange(r *http.Request, userID int64) error {
	return t.Allow(r, t.Limits().ChangePerson.Of(userID), t.Limits().ChangeNetwork.From(address(r)))
}

// AllowCall counts a call to a provider about a connection of a user who has no session.
func (t Site) AllowCall(r *http.Request, userID int64, provider string) error {
	return t.Allow(r, t.s.connectionCalls(r, userID, provider)...)
}

// AskAbout is Ask for an act that leads to a provider, whose brand rules may give the button.
func (t Site) AskAbout(w http.ResponseWriter, r *http.Request, p *oauth.Provider, v Warning) error {
	v.Provider = &providerView{Key: p.Key, Name: p.Name, Button: p.Button}
	return t.Ask(w, r, v)
}

// AttemptFailed redirects from a provider's callback to the sign-in page, which says what went wrong.
func (t Site) AttemptFailed(w http.ResponseWriter, r *http.Request, p *oauth.Provider, err error) error {
	return t.s.attemptFailed(w, r, p, "/", &providerError{p, err})
}

// NotFound is the error for a page that does not exist.
func (t Site) NotFound() error { return errNoPage }

// Notify keeps a notice for the next page of this session. place is a section of the account page, or "".
func (t Site) Notify(r *http.Request, place, text string, link Link) {
	t.s.flashNotice(r, notice{Kind: good, Place: place, Text: text, Link: link})
}

// SignIn signs in by a method of the part, for as long as the session lasts, and logs and reports it.
func (t Site) SignIn(w http.ResponseWriter, r *http.Request, method string, prove access.Prove) error {
	done, err := t.s.access.SignInBy(r.Context(), method, t.s.signInOf(r, true, ""), prove)
	t.s.Observer.SignIn(method, signInResult(err))
	if err != nil {
		return err
	}
	t.s.rememberBrowser(w, done.Browser)
	t.s.Log.InfoContext(r.Context(), "signed in", "id", requestID(r.Context()), "user", done.UserID, "method", method)
	return nil
}

// Access has the use cases of signing in and connecting.
func (t Site) Access() *access.Access { return &t.s.access }

// Provider returns a provider at which we are registered, nil if we are not.
func (t Site) Provider(key string) *oauth.Provider { return t.s.Providers.Get(key) }

// Consents are the counts of a redirect to a provider's consent page, for a user, or for a visitor if userID is 0.
func (t Site) Consents(r *http.Request, userID int64) []auth.Count {
	limits := t.Limits()
	counts := []auth.Count{limits.BeginNetwork.From(address(r))}
	if userID != 0 {
		counts = append([]auth.Count{limits.BeginPerson.Of(userID)}, counts...)
	}
	return counts
}

// Begin begins an attempt in this browser, without a session, and redirects to the provider's consent page. userID 0
// signs in.
func (t Site) Begin(w http.ResponseWriter, r *http.Request, p *oauth.Provider, userID int64, returnPath string) error {
	browser := cmp.Or(t.s.cookie(r, attemptCookie), rand.Text())
	consent, err := t.s.Connections.Begin(r.Context(), p, oauth.Owner{UserID: userID, Browser: browser}, returnPath)
	if err != nil {
		return &providerError{p, err}
	}
	t.s.setCookie(w, attemptCookie, browser, t.s.OAuth.Limits().Attempt)
	redirect(w, r, consent)
	return nil
}

// Lasting is a callback that does not stop when the browser leaves: its code is good once.
func (t Site) Lasting(r *http.Request) (lasting *http.Request, cancel context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), t.s.Limits.Provider)
	return r.WithContext(ctx), cancel
}

// Exchange exchanges the code of a callback.
func (t Site) Exchange(r *http.Request, attempt oauth.Attempt) (oauth.Grant, error) {
	return t.s.OAuth.Exchange(r.Context(), attempt, r.URL.Query(), func(subject string) error {
		return t.s.allowFinish(r.Context(), r, attempt, subject)
	})
}

// Log logs what a user without a session did that is about a provider.
func (t Site) Log(r *http.Request, did string, userID int64, p *oauth.Provider) {
	t.s.Log.InfoContext(r.Context(), did, "id", requestID(r.Context()), "user", userID, "provider", p.Key)
}

// LogFailure logs a failure of ours or of a provider that the answer doesn't show; refusals are none.
func (t Site) LogFailure(r *http.Request, p *oauth.Provider, err error) {
	if answer := t.s.explain(r, &providerError{p, err}); answer.Status >= 500 {
		t.s.logFailure(r, answer.Status, err)
	}
}

// Me answers who is signed in by a session.
func (t Site) Me() http.Handler {
	hooks := session.Hooks{Address: address, Gone: t.s.sessionGone, Failed: t.s.fail}
	return deadline(t.s.Limits.Page)(t.s.Sessions.Handler(hooks)(http.HandlerFunc(t.s.me)))
}

// API answers errors of a handler as JSON, without their text, and limits how long it takes.
func (t Site) API(h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return deadline(t.s.Limits.Page)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		err := h(w, r)
		if err == nil || errors.Is(r.Context().Err(), context.Canceled) {
			return
		}
		p := t.s.explain(r, err)
		if p.Status >= 500 {
			t.s.logFailure(r, p.Status, err)
		}
		if p.retryAfter > 0 {
			retryAfter(w, p.retryAfter)
		}
		writeJSON(w, p.Status, map[string]string{"error": p.Heading})
	})).ServeHTTP
}

// JSON writes an answer.
func (t Site) JSON(w http.ResponseWriter, status int, answer any) error {
	writeJSON(w, status, answer)
	return nil
}

// addParts mounts the routes of parts that have sessions.
func (s *server) addParts(r chi.Router) {
	for _, p := range s.Parts {
		if p.Routes != nil {
			p.Routes(Site{s}, r)
		}
	}
}

// addAPIs mounts the routes of parts that have none.
func (s *server) addAPIs(r chi.Router) {
	for _, p := range s.Parts {
		if p.API != nil {
			p.API(Site{s}, r)
		}
	}
}

// unknown answers requests that no route is for: as a part does, or with a page.
func (s *server) unknown(page http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, p := range s.Parts {
			if p.Unknown == nil {
				continue
			}
			if h := p.Unknown(Site{s}, r); h != nil {
				h.ServeHTTP(w, r)
				return
			}
		}
		page.ServeHTTP(w, r)
	}
}

// returnOf returns what finishes an attempt of a part; nil: it is no part's.
func (s *server) returnOf(attempt oauth.Attempt) Return {
	for _, p := range s.Parts {
		if finish := p.Returns[attempt.ReturnPath]; finish != nil {
			return finish
		}
	}
	return nil
}

// sections are what parts add to the account page.
func (s *server) sections(r *http.Request, v *view) (all []Section, err error) {
	for _, p := range s.Parts {
		if p.Section == nil {
			continue
		}
		section, err := p.Section(r)
		if err != nil {
			return nil, err
		}
		if section != nil {
			section.Notice = v.claim(section.ID)
			all = append(all, *section)
		}
	}
	return all, nil
}

// methodInWords says how a session began that has a method of a part; "" if none knows the method.
func (s *server) methodInWords(method string) string {
	for _, p := range s.Parts {
		if words := p.Methods[method]; words != "" {
			return words
		}
	}
	return ""
}

// noticeOfPart is a part's notice for visitors; nil: there is none with this code.
func (s *server) noticeOfPart(code string) *notice {
	for _, p := range s.Parts {
		if text := p.Notices[code]; text != nil {
			return &notice{Kind: info, Text: text(Site{s})}
		}
	}
	return nil
}
