package routes

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"cairn/internal/auth"
)

// An intent is an act that a person asked for, by a form of ours, and that takes re-authentication. It waits in their
// session under an id, which the page that asks who they are carries on: what that page names is what is done, and
// nothing that another tab, or somebody with a stolen cookie, asked for. After a password it is done in the same
// request. After a provider's callback, which is a GET, the person comes to a page with the one button for it; only
// connecting goes on by itself, as far as the provider's consent page.
type intent struct{ verb, object string }

const (
	toConnect        = "connect"         // a provider, by its key
	toRemoveIdentity = "remove-identity" // by its id
	toRemovePassword = "remove-password"
)

func (i intent) String() string { return strings.TrimSpace(i.verb + " " + i.object) }

// parseIntent returns the zero intent for "".
func parseIntent(act string) intent {
	verb, object, _ := strings.Cut(act, " ")
	return intent{verb, object}
}

const confirmPath = "/account/confirm"

// confirmFirst asks somebody who is signed in who they are, and keeps what they want meanwhile.
func (s *server) confirmFirst(w http.ResponseWriter, r *http.Request, i intent) {
	see(w, r, confirmPath+"?"+url.Values{"intent": {s.Sessions.PutIntent(r.Context(), i.String())}}.Encode())
}

// intentID returns the id of the intent that a return path leads to, "" if it is another path.
func intentID(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Path != confirmPath {
		return ""
	}
	return u.Query().Get("intent")
}

// carryOut does what somebody wanted who has just given their password.
func (s *server) carryOut(w http.ResponseWriter, r *http.Request, i intent) error {
	if err := s.Sessions.Reload(r.Context()); err != nil {
		return err
	}
	switch i.verb {
	case toConnect:
		return s.beginConnecting(w, r, i.object, cardPath(i.object))
	case toRemoveIdentity:
		id, err := strconv.ParseInt(i.object, 10, 64)
		if err != nil {
			return errNoPage
		}
		return s.removeIdentityNow(w, r, id)
	case toRemovePassword:
		return s.removePasswordNow(w, r)
	}
	s.tell(r, good, confirmed)
	see(w, r, "/account")
	return nil
}

// carryOn is carryOut for somebody who comes back from a provider.
func (s *server) carryOn(w http.ResponseWriter, r *http.Request, i intent) error {
	if i.verb == toConnect {
		if err := s.Sessions.Reload(r.Context()); err != nil {
			return err
		}
		return s.beginConnecting(w, r, i.object, cardPath(i.object))
	}
	s.tell(r, good, confirmed)
	see(w, r, i.page())
	return nil
}

const confirmed = "Confirmed. We won’t ask again for ten minutes."

// page is where the one button for an intent stands.
func (i intent) page() string {
	switch i.verb {
	case toConnect:
		return cardPath(i.object)
	case toRemoveIdentity:
		return "/account/ways/" + url.PathEscape(i.object) + "/remove"
	case toRemovePassword:
		return "/account/password/remove"
	}
	return "/account"
}

// task names an intent on the page that asks who somebody is, "" for the zero one.
func (s *server) task(i intent, account auth.Account) string {
	switch i.verb {
	case toConnect:
		return "connect " + s.providerName(i.object)
	case toRemovePassword:
		return "remove your password"
	case toRemoveIdentity:
		at := slices.IndexFunc(account.Identities, func(one auth.Identity) bool {
			return strconv.FormatInt(one.ID, 10) == i.object
		})
		if at >= 0 {
			return "remove " + s.providerName(account.Identities[at].Provider)
		}
	}
	return ""
}

// providerName is the key of a provider that has no keys of ours any more.
func (s *server) providerName(key string) string {
	p, err := s.provider(key)
	if err != nil {
		return key
	}
	return p.Name
}

// tasks name the pages that take re-authentication.
var tasks = map[string]string{"/account/delete": "delete your account", passwordPath: "add a password"}

// passwordPath is the form that adds a password or changes it.
const passwordPath = "/account#h-password"
