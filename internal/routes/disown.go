package routes

import (
	"errors"
	"net/http"

	"cairn/internal/access"
	"cairn/internal/auth"
)

// disownLink takes back what was done since a sign-in in a new browser. It needs no session, because an intruder may
// have ended the owner's.
var disownLink = SecretLink{
	Name: "disown-link", From: []string{"/disown"}, Param: "token", Page: "/disown",
	Valid: auth.ValidToken, Refused: "disown-link",
}

func (s *server) disowning() mailedLink {
	return mailedLink{SecretLink: disownLink, purpose: auth.ToDisown, show: s.disownPage, act: s.disown}
}

func (s *server) disownPage(w http.ResponseWriter, r *http.Request, l openedLink) error {
	account, err := s.Accounts.Get(r.Context(), l.UserID)
	if err != nil {
		return err
	}
	return s.warn(w, r, Warning{
		Heading: "Was this somebody else?", Lead: s.signInInWords(l.Link), Losses: s.disownLosses(l.Link, account),
		Button: "Lock them out", About: l.About, Keep: Link{"No, it was me", "/"},
	})
}

// signInInWords says which sign-in a link is about.
func (s *server) signInInWords(l auth.Link) string {
	at, facts := l.SignIn()
	at = at.In(s.zone(facts["zone"]))
	return browserInWords(facts["agent"]) + " signed in " + s.words().signedInBy(facts["method"]) + " on " +
		at.Format("Monday 2 January 2006, 15:04 ") + zoneName(at) + ", from " + facts["address"] + "."
}

// disownLosses say what locking an intruder out does.
func (s *server) disownLosses(l auth.Link, account auth.Account) []Loss {
	losses := []Loss{
		{"logout", "That browser is signed out", "So is every browser that has signed in since"},
		{"key", "Sign-in methods added since are removed", "So are their connections, an app and recovery codes"},
		{"password", "The password is removed", "We send a link to choose a new one to " + l.Email},
	}
	if account.Email != l.Email {
		losses = append(losses, Loss{"mail", l.Email + " becomes the account’s e-mail again", "It was changed since"})
	}
	if account.Second.On {
		losses = append(losses, Loss{"shield-check", "Choosing a new password may take a code",
			"A recovery code, or one from your app"})
	}
	_, facts := l.SignIn()
	if p := s.Providers.Get(facts["method"]); p != nil {
		return append(losses, Loss{"plug-connected", p.Name + " stays connected, but doesn’t sign you in any more",
			"Until you allow it again on your account page"})
	}
	if facts["method"] == access.PasskeyMethod {
		return append(losses, Loss{"fingerprint", "Passkeys that were used since are removed", "Add yours again later"})
	}
	return losses
}

func (s *server) disown(_ http.ResponseWriter, r *http.Request, l auth.Link) (next string, err error) {
	err = s.access.Disown(r.Context(), l)
	switch {
	case errors.Is(err, auth.ErrEmailTaken):
		return takenMeanwhile, nil
	case err != nil:
		return "", err
	}
	s.Log.InfoContext(r.Context(), "sign-in disowned", "id", requestID(r.Context()), "user", l.UserID)
	return mailedFor("disown"), nil
}
