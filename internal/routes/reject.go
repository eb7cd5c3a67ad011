package routes

import (
	"errors"
	"net/http"

	"cairn/internal/access"
	"cairn/internal/auth"
)

// rejectLink undoes what was done since a sign-in in a new browser. It needs no session, because an intruder may
// have ended the owner's.
var rejectLink = SecretLink{
	Name: "not-me-link", From: []string{"/not-me"}, Param: "token", Page: "/not-me",
	Valid: auth.ValidToken, Refused: "not-me-link",
}

func (s *server) rejecting() mailedLink {
	return mailedLink{SecretLink: rejectLink, purpose: auth.ToReject, show: s.rejectPage, act: s.reject}
}

func (s *server) rejectPage(w http.ResponseWriter, r *http.Request, l openedLink) error {
	account, err := s.Accounts.Get(r.Context(), l.UserID)
	if err != nil {
		return err
	}
	return s.warn(w, r, Warning{
		Heading: "Was this somebody else?", Lead: s.signInInWords(l.Link), Losses: s.rejectLosses(l.Link, account),
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

// rejectLosses say what locking an intruder out does.
func (s *server) rejectLosses(l auth.Link, account auth.Account) []Loss {
	losses := []Loss{
		{"logout", "That browser is signed out", "So is every browser that has signed in since"},
		{"key", "Sign-in methods added since then are removed", "With their connections, an app and recovery codes"},
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

func (s *server) reject(_ http.ResponseWriter, r *http.Request, l auth.Link) (next string, err error) {
	err = s.access.RejectSignIn(r.Context(), l)
	switch {
	case errors.Is(err, auth.ErrEmailTaken):
		return takenMeanwhile, nil
	case err != nil:
		return "", err
	}
	s.Log.InfoContext(r.Context(), "sign-in rejected", "id", requestID(r.Context()), "user", l.UserID)
	return mailedFor("reject"), nil
}
