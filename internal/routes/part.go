package routes

import (
	"context"
	"net/http"

	"github.com/go-chi/chi/v5"

	"cairn/internal/access"
	"cairn/internal/auth"
)

// Part is a part of the site that lives in a package of its own. Each field may be zero.
type Part struct {
	// Links are the addresses at which its secret links arrive.
	Links []SecretLink
	// Routes adds its routes. They are pages, behind the session.
	Routes func(Site, chi.Router)
	// Section returns what it adds to the account page of the signed-in person, nil if nothing.
	Section func(*http.Request) (*Section, error)
	// LockOut is part of locking others out of an account.
	LockOut access.LockOut
	// Methods say in words how a session began that has one of its methods: "with your private link".
	Methods map[string]string
	// Notices are what visitors read at an address with ?notice=, by code.
	Notices map[string]string
}

// Section is a section of the account page.
type Section struct {
	ID, Heading, Text string
	Action            Link
	Notice            *notice // is filled in
}

// Site is what a part shares with the rest of the site.
type Site struct{ s *server }

// Page turns the error of a handler into an error page.
func (t Site) Page(h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return t.s.page(h)
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
func (t Site) Ask(w http.ResponseWriter, r *http.Request, v Warning) error { return t.s.warn(w, r, v) }

// MustSignIn lets only signed-in people through, and asks others to sign in.
func (t Site) MustSignIn(next http.Handler) http.Handler { return mustSignIn(next) }

// NameOf returns a user's name. Errors: auth.ErrNotFound.
func (t Site) NameOf(ctx context.Context, userID int64) (string, error) {
	account, err := t.s.Accounts.Get(ctx, userID)
	return account.Name, err
}

// NotFound is the error for a page that does not exist.
func (t Site) NotFound() error { return errNoPage }

// Notify keeps a notice for the next page of this session. place is a section of the account page, or "".
func (t Site) Notify(r *http.Request, place, text string, link Link) {
	t.s.keepNotice(r, notice{Kind: good, Place: place, Text: text, Link: link})
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

// addParts mounts the parts.
func (s *server) addParts(r chi.Router) {
	for _, p := range s.Parts {
		if p.Routes != nil {
			p.Routes(Site{s}, r)
		}
	}
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
		if text := p.Notices[code]; text != "" {
			return &notice{Kind: info, Text: text}
		}
	}
	return nil
}
