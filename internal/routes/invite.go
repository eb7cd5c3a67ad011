package routes

import (
	"errors"
	"net/http"
	"time"

	"cairn/internal/auth"
)

// inviteLink leads to the page on which an invited person signs up. The invitation stays in the browser for as long as
// somebody may need to choose how to sign up, at a provider or here.
var inviteLink = SecretLink{
	Name: "invitation", From: []string{"/invitation"}, Param: "token", Page: "/signup",
	Valid: auth.ValidToken, Refused: "mailed-link", Life: time.Hour,
}

// invitation returns the invitation that this browser has opened, or the zero Link if there is none that is good.
func (s *server) invitation(r *http.Request) (auth.Link, error) {
	token := Site{s}.Secret(r, inviteLink)
	if token == "" {
		return auth.Link{}, nil
	}
	l, err := s.Accounts.FindLink(r.Context(), auth.ToInvite, token)
	if errors.Is(err, auth.ErrLink) {
		return auth.Link{}, nil
	}
	return l, err
}

// uninvitedInWords says why somebody gets no account.
func (s *server) uninvitedInWords() string {
	if s.Accounts.Admission() == auth.Closed {
		return "No new accounts are made here at the moment."
	}
	return "New accounts need an invitation. If you have one, open its link first."
}
