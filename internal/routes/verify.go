package routes

import (
	"net/http"

	"cairn/internal/auth"
	"cairn/internal/session"
)

// verifyLink proves the address of an account, in a browser that is signed in to it.
var verifyLink = SecretLink{
	Name: "verify-link", From: []string{"/account/email/verify"}, Param: "token", Page: "/account/email/verify",
	Valid: auth.ValidToken, Refused: "mailed-link",
}

// ownLink returns the link that this browser has opened, if it is about the account that is signed in. A link of
// another account is refused, so that a stranger can't trick somebody into proving an address for them.
func (s *server) ownLink(r *http.Request, purpose auth.Purpose, from SecretLink) (auth.Link, error) {
	l, err := s.Accounts.FindLink(r.Context(), purpose, Site{s}.Secret(r, from))
	if err != nil {
		return auth.Link{}, err
	}
	if current, _ := session.Current(r.Context()); current.UserID != l.UserID {
		return auth.Link{}, auth.ErrLink
	}
	return l, nil
}

func (s *server) verifyPage(w http.ResponseWriter, r *http.Request) error {
	l, err := s.ownLink(r, auth.ToVerify, verifyLink)
	if err != nil {
		return s.refuseMailed(w, r, verifyLink, err)
	}
	return Site{s}.Ask(w, r, Warning{
		Heading: "Is " + l.Email + " yours?", Lead: "You opened the link in our message to it.", Harmless: true,
		Losses: []Loss{
			{"password", "You can choose a new password by mail", "If you ever forget yours"},
			{"mail", "We’ll write to you if something changes", "How you sign in, or a connection that needs you"},
		},
		Button: "Yes, it’s mine", About: Site{s}.About(r, verifyLink), Keep: Link{"Not now", "/account"},
	})
}

func (s *server) verify(w http.ResponseWriter, r *http.Request) error {
	if !(Site{s}).IsAbout(r, verifyLink) {
		redirect(w, r, verifyLink.Page)
		return nil
	}
	l, err := s.ownLink(r, auth.ToVerify, verifyLink)
	if err == nil {
		err = s.access.VerifyEmail(r.Context(), l)
	}
	if err != nil {
		return s.refuseMailed(w, r, verifyLink, err)
	}
	Site{s}.DropSecret(w, verifyLink)
	s.Log.InfoContext(r.Context(), "e-mail verified", "id", requestID(r.Context()), "user", l.UserID)
	s.tellAt(r, atEmail, good, "Your e-mail is confirmed.")
	redirect(w, r, "/account#"+atEmail)
	return nil
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
	s.tellAt(r, atEmail, good, "We’ve sent you a link. Open it in this browser.")
	redirect(w, r, "/account#"+atEmail)
	return nil
}
