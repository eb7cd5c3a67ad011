package routes

import (
	"net/http"

	"cairn/internal/auth"
	"cairn/internal/session"
)

// verifyLink proves the address of an account, in a browser that is signed in to it.
var verifyLink = mailedTo("/account/email/verify", "verify-link")

func (s *server) verification() mailedLink {
	return mailedLink{SecretLink: verifyLink, purpose: auth.ToVerify, own: true, show: s.verifyPage, act: s.verify}
}

func (s *server) verifyPage(w http.ResponseWriter, r *http.Request, l openedLink) error {
	return s.warn(w, r, Warning{
		Heading: "Is " + l.Email + " yours?", Lead: "You opened the link in our message to it.", Harmless: true,
		Losses: []Loss{
			{"password", "You can choose a new password by mail", "If you ever forget yours"},
			{"mail", "We’ll write to you if something changes", "How you sign in, or a connection that needs you"},
		},
		Button: "Yes, it’s mine", About: l.About, Keep: Link{"Not now", "/account"},
	})
}

func (s *server) verify(_ http.ResponseWriter, r *http.Request, l auth.Link) (next string, err error) {
	if err := s.access.VerifyEmail(r.Context(), l); err != nil {
		return "", err
	}
	s.Log.InfoContext(r.Context(), "e-mail verified", "id", requestID(r.Context()), "user", l.UserID)
	s.flashAt(r, atEmail, good, "Your e-mail is confirmed.")
	return "/account#" + atEmail, nil
}

// sendVerification has a link mailed to the address of the account.
func (s *server) sendVerification(w http.ResponseWriter, r *http.Request) error {
	if !s.Accounts.MailOn() {
		return errNoPage
	}
	current, _ := session.Current(r.Context())
	err := s.Accounts.RequestVerification(r.Context(), current.UserID, address(r))
	if err != nil {
		return err
	}
	s.flashAt(r, atEmail, good, "We’ve sent you a link. Open it in this browser.")
	redirect(w, r, "/account#"+atEmail)
	return nil
}
