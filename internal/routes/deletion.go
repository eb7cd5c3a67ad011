package routes

import (
	"errors"
	"net/http"

	"github.com/jackc/pgx/v5"

	"cairn/internal/auth"
	"cairn/internal/oauth"
	"cairn/internal/session"
)

// deletionView is the page on which an account is deleted. It takes somebody who has just signed in: whoever finds a
// browser open can't do it.
type deletionView struct {
	view
	Name        string
	Email       string // "": no password
	HasPassword bool
	Recent      bool              // has just signed in
	Served      []*oauth.Provider // that are told, or have to be
	Providers   []providerView    // to sign in with again
	Next        string
	Errors      map[string]string
}

// deletedView says what happened with an account.
type deletedView struct {
	view
	Told   []string       // providers that are being told
	Manual []manualRemove // those that only the person can tell
}

type manualRemove struct{ Name, URL string }

func (s *server) deletion(w http.ResponseWriter, r *http.Request) error {
	return s.showDeletion(w, r, http.StatusOK, nil)
}

func (s *server) showDeletion(w http.ResponseWriter, r *http.Request, status int, problems map[string]string) error {
	current, _ := session.Current(r.Context())
	account, err := s.Accounts.Get(r.Context(), current.UserID)
	if err != nil {
		return err
	}
	v := deletionView{
		view: s.view(r, "Delete your account"), Name: account.Name, Email: account.Email, HasPassword: account.Email != "",
		Recent: current.Recent, Served: s.Providers, Next: "/account/delete", Errors: problems,
	}
	for _, identity := range account.Identities {
		if p, err := s.provider(identity.Provider); err == nil {
			v.Providers = append(v.Providers, providerView{Key: p.Key, Name: p.Name})
		}
	}
	return s.render(w, r, status, "delete", v)
}

// deleteAccount removes everything of the signed-in person at once, and has the providers told.
func (s *server) deleteAccount(w http.ResponseWriter, r *http.Request) error {
	if err := parseForm(r); err != nil {
		return err
	}
	current, _ := session.Current(r.Context())
	if !current.Recent {
		err := s.Accounts.Confirm(r.Context(), current.UserID, r.PostForm.Get("password"))
		status, problems, ok := formProblem(w, err)
		if errors.Is(err, auth.ErrCredentials) {
			problems = map[string]string{"password": "This is not your password."}
		}
		if ok {
			return s.showDeletion(w, r, status, problems)
		}
		if err != nil {
			return err
		}
	}
	var gone deletedView
	err := s.Accounts.Delete(r.Context(), current.UserID, func(tx pgx.Tx) error { return s.forgetAll(r, tx, current.UserID, &gone) })
	if err != nil {
		return err
	}
	if err := s.Sessions.SignOut(r.Context()); err != nil {
		return err
	}
	s.Log.InfoContext(r.Context(), "account deleted", "id", requestID(r.Context()), "user", current.UserID)
	gone.view = s.view(r, "Your account is deleted")
	return s.render(w, r, http.StatusOK, "deleted", gone)
}

func (s *server) forgetAll(r *http.Request, tx pgx.Tx, userID int64, gone *deletedView) error {
	for _, p := range s.Providers {
		telling, err := s.Connections.Forget(r.Context(), tx, p, userID, 0)
		switch {
		case errors.Is(err, oauth.ErrNotFound):
		case err != nil:
			return err
		case telling:
			gone.Told = append(gone.Told, p.Name)
		default:
			gone.Manual = append(gone.Manual, manualRemove{p.Name, p.ManageURL})
		}
	}
	return nil
}
