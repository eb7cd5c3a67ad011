package routes

import (
	"errors"
	"net/http"

	"github.com/jackc/pgx/v5"

	"cairn/internal/oauth"
	"cairn/internal/session"
)

// deletionView is the page on which an account is deleted.
type deletionView struct {
	view
	Name   string
	Served []*oauth.Provider // that are told, or have to be
}

// deletedView says what happened with an account.
type deletedView struct {
	view
	Told   []string       // providers that are being told
	Manual []manualRemove // those that only the person can tell
}

type manualRemove struct{ Name, URL string }

func (s *server) deletion(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	v := deletionView{view: s.view(r, "Delete your account"), Name: current.Name, Served: s.Providers}
	return s.render(w, r, http.StatusOK, "delete", v)
}

// deleteAccount removes everything of the signed-in person at once, and has the providers told.
func (s *server) deleteAccount(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
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
