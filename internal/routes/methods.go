package routes

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"

	"github.com/go-chi/chi/v5"

	"cairn/internal/auth"
	"cairn/internal/session"
)

// signInMethod is a sign-in method by a provider.
type signInMethod struct {
	ID        int64
	Key, Name string // the provider's
	Subject   string
	Account   string // the account's name, if it is connected
	Connected bool
	Revocable bool // the provider can be asked to revoke our access
	SignsIn   bool // false: it has to be allowed first
	SkipsCode bool // it signs in without a code
	TwoStep   bool // the provider has two-step verification of its own
}

// Label names the account.
func (m signInMethod) Label() string { return cmp.Or(m.Account, m.Subject) }

// methodsOf returns the accounts at providers that sign in, and those that could.
func methodsOf(account auth.Account, cards []card) []signInMethod {
	var methods []signInMethod
	for _, identity := range account.Identities {
		if !auth.KnownSubject(identity.Subject) {
			continue // only its card can fix it
		}
		m := signInMethod{ID: identity.ID, Key: identity.Provider, Name: identity.Provider, Subject: identity.Subject,
			SignsIn: identity.SignsIn, SkipsCode: identity.SkipsCode}
		for _, c := range cards {
			if c.Key != identity.Provider {
				continue
			}
			m.Name, m.TwoStep = c.Name, c.TwoStep
			if c.Connected && c.Subject == identity.Subject {
				m.Connected, m.Account, m.Revocable = true, c.Account, c.Revocable
			}
		}
		methods = append(methods, m)
	}
	return methods
}

// ownMethod returns the account at a provider that the address names, if it is the user's and signs in, or does not;
// with all of them and the user's account. Errors: errNoPage.
func (s *server) ownMethod(r *http.Request, signsIn bool) (
	m signInMethod, methods []signInMethod, account auth.Account, err error,
) {
	id, err := strconv.ParseInt(chi.URLParam(r, "id"), 10, 64)
	if err != nil {
		return m, nil, account, errNoPage
	}
	current, _ := session.Current(r.Context())
	account, cards, err := s.accountAndCards(r, current.UserID)
	if err != nil {
		return m, nil, account, err
	}
	methods = methodsOf(account, cards)
	i := slices.IndexFunc(methods, func(m signInMethod) bool { return m.ID == id && m.SignsIn == signsIn })
	if i < 0 {
		return m, nil, account, errNoPage
	}
	return methods[i], methods, account, nil
}

// removeIdentity removes a provider as a sign-in method, together with the connection that uses it.
func (s *server) removeIdentity(w http.ResponseWriter, r *http.Request) error {
	id, err := strconv.ParseInt(chi.URLParam(r, "id"), 10, 64)
	if err != nil {
		return errNoPage
	}
	if current, _ := session.Current(r.Context()); !current.Recent {
		s.confirmFirst(w, r, intent{toRemoveIdentity, strconv.FormatInt(id, 10)})
		return nil
	}
	return s.removeIdentityNow(w, r, id)
}

func (s *server) removeIdentityNow(w http.ResponseWriter, r *http.Request, id int64) error {
	current, _ := session.Current(r.Context())
	provider, browser, err := s.access.RemoveIdentity(r.Context(), current.UserID, id)
	if err != nil {
		return err
	}
	s.rememberBrowser(w, browser)
	s.Log.InfoContext(r.Context(), "sign-in method removed", "id", requestID(r.Context()), "user", current.UserID)
	s.flashAt(r, atMethods, good, s.providerName(provider)+" was removed. You’re signed out on your other devices.")
	redirect(w, r, "/account#"+atMethods)
	return nil
}

// allowIdentityPage asks whether an account at a provider, which an import brought, may sign in.
func (s *server) allowIdentityPage(w http.ResponseWriter, r *http.Request) error {
	m, _, _, err := s.ownMethod(r, false)
	if err != nil {
		return err
	}
	lead := "Account number " + m.Subject // a name proves nothing: anyone can take it
	if m.Account != "" {
		lead = m.Account + ", account number " + m.Subject
	}
	return s.warn(w, r, Warning{
		Provider: &providerView{Key: m.Key, Name: m.Name}, Lead: lead,
		Heading: "Use " + m.Name + " to sign in too?",
		Losses: []Loss{
			{"key", "Anyone who can sign in to this " + m.Name + " account can then sign in here",
				"If it isn’t yours, disconnect it instead"},
		},
		Button: "Sign in with " + m.Name + " too", Harmless: true, Keep: Link{"Not now", "/account#" + atMethods},
	})
}

func (s *server) allowIdentity(w http.ResponseWriter, r *http.Request) error {
	id, err := strconv.ParseInt(chi.URLParam(r, "id"), 10, 64)
	if err != nil {
		return errNoPage
	}
	if current, _ := session.Current(r.Context()); !current.Recent {
		s.confirmFirst(w, r, intent{toAllowIdentity, strconv.FormatInt(id, 10)})
		return nil
	}
	return s.allowIdentityNow(w, r, id)
}

func (s *server) allowIdentityNow(w http.ResponseWriter, r *http.Request, id int64) error {
	current, _ := session.Current(r.Context())
	provider, err := s.access.ConfirmIdentity(r.Context(), current.UserID, id)
	if err != nil {
		return err
	}
	s.Log.InfoContext(r.Context(), "sign-in method added", "id", requestID(r.Context()), "user", current.UserID,
		"method", provider)
	s.flashAt(r, atMethods, good, "You can now sign in with "+s.providerName(provider)+" too.")
	redirect(w, r, "/account#"+atMethods)
	return nil
}
