package routes

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"cairn/internal/auth"
)

// An intent is what a person asked for with a form, where that requires re-authentication. It waits in the session
// under an id, which the page for re-authentication passes on: so what that page names is done, and not what another
// tab, or a thief with the cookie, asked for. After a password or a passkey it is done in the same request. A callback
// of a provider is a GET, so it leads to a page with the button for the intent; only connecting goes on by itself, to
// the provider's consent page.
type intent struct{ verb, object string }

const (
	toConnect        = "connect"         // a provider, by its key
	toRemoveIdentity = "remove-identity" // by its id
	toRemovePassword = "remove-password"
	toRemovePasskey  = "remove-passkey" // by the id of its row
	toAllowIdentity  = "allow-identity" // to sign in; by its id
	toDownload       = "download"
	toEndUndo        = "end-undo" // by the id of its link
)

func (i intent) String() string { return strings.TrimSpace(i.verb + " " + i.object) }

// parseIntent returns the zero intent for "".
func parseIntent(act string) intent {
	verb, object, _ := strings.Cut(act, " ")
	return intent{verb, object}
}

const confirmPath = "/account/confirm"

// confirmFirst asks for re-authentication, and keeps the intent meanwhile.
func (s *server) confirmFirst(w http.ResponseWriter, r *http.Request, i intent) {
	redirect(w, r, confirmPath+"?"+url.Values{"intent": {s.Sessions.PutIntent(r.Context(), i.String())}}.Encode())
}

// intentID returns the id of the intent that a return path leads to, "" if it is another path.
func intentID(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Path != confirmPath {
		return ""
	}
	return u.Query().Get("intent")
}

// carryOut does what a person asked for who has just confirmed with a password or a passkey.
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
	case toRemovePasskey:
		id, err := strconv.ParseInt(i.object, 10, 64)
		if err != nil {
			return errNoPage
		}
		return s.removePasskeyNow(w, r, id)
	case toAllowIdentity:
		id, err := strconv.ParseInt(i.object, 10, 64)
		if err != nil {
			return errNoPage
		}
		return s.allowIdentityNow(w, r, id)
	case toEndUndo:
		id, err := strconv.ParseInt(i.object, 10, 64)
		if err != nil {
			return errNoPage
		}
		return s.endUndoNow(w, r, id)
	case toDownload:
		// The answer is a file, which would leave the browser on the page for re-authentication.
		s.flashAt(r, atData, good, confirmed)
		redirect(w, r, i.page())
		return nil
	}
	s.flash(r, good, confirmed)
	redirect(w, r, "/account")
	return nil
}

// carryOn is carryOut for a person who has come back from a provider.
func (s *server) carryOn(w http.ResponseWriter, r *http.Request, i intent) error {
	if i.verb == toConnect {
		if err := s.Sessions.Reload(r.Context()); err != nil {
			return err
		}
		return s.beginConnecting(w, r, i.object, cardPath(i.object))
	}
	place := ""
	if i.verb == toDownload {
		place = atData
	}
	s.flashAt(r, place, good, confirmed)
	redirect(w, r, i.page())
	return nil
}

const confirmed = "Confirmed. We won’t ask again for ten minutes."

// page is the path of the page with the button for an intent.
func (i intent) page() string {
	switch i.verb {
	case toConnect:
		return cardPath(i.object)
	case toRemoveIdentity:
		return "/account/methods/" + url.PathEscape(i.object) + "/remove"
	case toRemovePassword:
		return "/account/password/remove"
	case toRemovePasskey:
		return "/account/passkeys/" + url.PathEscape(i.object) + "/remove"
	case toAllowIdentity:
		return "/account/methods/" + url.PathEscape(i.object) + "/allow"
	case toEndUndo:
		return "/account/email/undo/" + url.PathEscape(i.object) + "/end"
	case toDownload:
		return dataPath
	}
	return "/account"
}

// task names an intent on the page for re-authentication; "" for the zero intent.
func (s *server) task(i intent, account auth.Account) string {
	switch i.verb {
	case toConnect:
		return "connect " + s.providerName(i.object)
	case toRemovePassword:
		return "remove your password"
	case toDownload:
		return "download your data"
	case toEndUndo:
		return "stop your old e-mail from undoing the change"
	case toRemovePasskey:
		return "remove a passkey"
	case toRemoveIdentity:
		if name := s.identityName(i, account); name != "" {
			return "remove " + name
		}
	case toAllowIdentity:
		if name := s.identityName(i, account); name != "" {
			return "let " + name + " sign you in"
		}
	}
	return ""
}

// identityName names the provider of the identity that an intent is about; "" if the account does not have it.
func (s *server) identityName(i intent, account auth.Account) string {
	at := slices.IndexFunc(account.Identities, func(one auth.Identity) bool {
		return strconv.FormatInt(one.ID, 10) == i.object
	})
	if at < 0 {
		return ""
	}
	return s.providerName(account.Identities[at].Provider)
}

// providerName returns the name of a provider, or its key if it isn't configured any more.
func (s *server) providerName(key string) string {
	p, err := s.provider(key)
	if err != nil {
		return key
	}
	return p.Name
}

// tasks name the pages that require re-authentication.
var tasks = map[string]string{
	"/account/delete": "delete your account", emailPath: "change your e-mail", passwordPath: "add a password",
	newPasskeyPath: "add a passkey",
}

// passwordPath is the form that adds a password or changes it.
const passwordPath = "/account#h-password"
