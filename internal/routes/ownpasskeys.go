package routes

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/go-chi/chi/v5"

	"cairn/internal/access"
	"cairn/internal/auth"
	"cairn/internal/passkey"
	"cairn/internal/session"
)

const newPasskeyPath = "/account/passkeys/new"

// newPasskeyView is the page that adds a passkey.
type newPasskeyView struct {
	view
	Passkey *passkeyForm // nil: this server can't have passkeys
	Errors  map[string]string
}

func (s *server) newPasskeyPage(w http.ResponseWriter, r *http.Request) error {
	return s.showNewPasskey(w, r, http.StatusOK, nil)
}

func (s *server) showNewPasskey(w http.ResponseWriter, r *http.Request, status int, problems map[string]string) error {
	v := newPasskeyView{view: s.view(r, formTitle("Add a passkey", problems)), Errors: problems}
	if s.Accounts.PasskeysOn() {
		v.Passkeys = true
		v.Passkey = &passkeyForm{Action: newPasskeyPath, Options: newPasskeyPath + "/options",
			Label: "Add a passkey", New: true}
	}
	return s.render(w, status, "passkey", v)
}

func (s *server) newPasskeyOptions(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	options, err := s.Accounts.NewPasskeyOptions(r.Context(), s.askFor(w, r, passkey.ToAdd, current.UserID))
	return sendOptions(w, options, err)
}

func (s *server) addPasskey(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	name, codes, err := s.addPasskeyNow(r, current.UserID)
	if status, problems, ok := s.formProblem(w, err); ok {
		s.Log.InfoContext(r.Context(), "passkey refused", "id", requestID(r.Context()), "reason", err)
		return s.showNewPasskey(w, r, status, problems)
	}
	if err != nil {
		return err
	}
	s.Log.InfoContext(r.Context(), "sign-in method added", "id", requestID(r.Context()), "user", current.UserID,
		"method", access.PasskeyMethod)
	added := "You can now sign in with the passkey “" + name + "” too."
	if codes != nil {
		return s.showCodes(w, r, added, codes)
	}
	s.flashAt(r, atMethods, good, added)
	redirect(w, r, "/account#"+atMethods)
	return nil
}

func (s *server) addPasskeyNow(r *http.Request, userID int64) (name string, codes []string, err error) {
	answer := r.PostForm.Get("answer")
	if answer == "" {
		return "", nil, errNoAnswer
	}
	made, err := s.Accounts.CheckNewPasskey(r.Context(), s.asked(r, passkey.ToAdd, userID), answer,
		browserInWords(r.UserAgent()))
	if err != nil {
		return "", nil, err
	}
	return s.access.AddPasskey(r.Context(), userID, made)
}

// ownPasskey returns the passkey that the address names, if it is the user's, with their account. Errors: errNoPage.
func (s *server) ownPasskey(r *http.Request) (k auth.Passkey, account auth.Account, err error) {
	id, err := strconv.ParseInt(chi.URLParam(r, "id"), 10, 64)
	if err != nil {
		return k, account, errNoPage
	}
	current, _ := session.Current(r.Context())
	if account, err = s.Accounts.Get(r.Context(), current.UserID); err != nil {
		return k, account, err
	}
	i := slices.IndexFunc(account.Passkeys, func(k auth.Passkey) bool { return k.RowID == id })
	if i < 0 {
		return k, account, errNoPage
	}
	return account.Passkeys[i], account, nil
}

// renamePasskeyView is the page on which people give a passkey another name.
type renamePasskeyView struct {
	view
	Old, Name string // Name is as it was typed
	Errors    map[string]string
}

func (s *server) renamePasskeyPage(w http.ResponseWriter, r *http.Request) error {
	k, _, err := s.ownPasskey(r)
	if err != nil {
		return err
	}
	return s.showRenamePasskey(w, r, http.StatusOK, renamePasskeyView{Old: k.Name, Name: k.Name})
}

func (s *server) showRenamePasskey(w http.ResponseWriter, r *http.Request, status int, v renamePasskeyView) error {
	v.view = s.view(r, formTitle("Rename a passkey", v.Errors))
	return s.render(w, status, "passkey-name", v)
}

func (s *server) renamePasskey(w http.ResponseWriter, r *http.Request) error {
	k, account, err := s.ownPasskey(r)
	if err != nil {
		return err
	}
	typed := r.PostForm.Get("name")
	name, err := s.Accounts.RenamePasskey(r.Context(), account.ID, k.RowID, typed)
	if status, problems, ok := s.formProblem(w, err); ok {
		return s.showRenamePasskey(w, r, status, renamePasskeyView{Old: k.Name, Name: typed, Errors: problems})
	}
	if err != nil {
		return err
	}
	s.flashAt(r, atMethods, good, "The passkey is now called “"+name+"”.")
	redirect(w, r, "/account#"+atMethods)
	return nil
}

// removePasskeyPage warns before a passkey is removed.
func (s *server) removePasskeyPage(w http.ResponseWriter, r *http.Request) error {
	k, account, err := s.ownPasskey(r)
	switch {
	case err != nil:
		return err
	case k.SignsIn && account.Methods() == 1:
		return auth.ErrLastMethod
	}
	cards, err := s.cards(r, account.ID, s.Activity.WithoutEntries)
	if err != nil {
		return err
	}
	account.Passkeys = slices.DeleteFunc(account.Passkeys, func(one auth.Passkey) bool { return one.RowID == k.RowID })
	losses := []Loss{
		{"fingerprint", "You can no longer sign in with this passkey",
			stillSignsIn(account, methodsOf(account, cards), 0)},
		{"device-mobile", "It may stay on your device", "If your device still offers it, remove it there, too"},
	}
	if len(account.Passkeys) == 0 && !account.Second.HasApp() && account.Second.Codes > 0 {
		losses = append(losses, codesEnd)
	}
	return s.warn(w, r, Warning{
		Heading: "Remove the passkey “" + k.Name + "”?", Losses: append(losses, othersEnd),
		Button: "Remove passkey", Keep: Link{"Keep it", "/account#" + atMethods},
	})
}

func (s *server) removePasskey(w http.ResponseWriter, r *http.Request) error {
	id, err := strconv.ParseInt(chi.URLParam(r, "id"), 10, 64)
	if err != nil {
		return errNoPage
	}
	if current, _ := session.Current(r.Context()); !current.Recent {
		s.confirmFirst(w, r, intent{toRemovePasskey, strconv.FormatInt(id, 10)})
		return nil
	}
	return s.removePasskeyNow(w, r, id)
}

func (s *server) removePasskeyNow(w http.ResponseWriter, r *http.Request, id int64) error {
	current, _ := session.Current(r.Context())
	name, browser, err := s.access.RemovePasskey(r.Context(), current.UserID, id)
	if err != nil {
		return err
	}
	s.rememberBrowser(w, browser)
	s.Log.InfoContext(r.Context(), "sign-in method removed", "id", requestID(r.Context()), "user", current.UserID)
	s.flashAt(r, atMethods, good, "The passkey “"+name+"” was removed. You’re signed out on your other devices.")
	redirect(w, r, "/account#"+atMethods)
	return nil
}

// offersPasskey reports whether the home page offers a passkey: to people who have just typed a password, until they
// have one or decline.
func (s *server) offersPasskey(r *http.Request, current session.Session) (bool, error) {
	if !current.Recent || current.Method != access.PasswordMethod {
		return false, nil
	}
	return s.Accounts.OffersPasskey(r.Context(), current.UserID)
}

func (s *server) declinePasskey(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	if err := s.Accounts.DeclinePasskey(r.Context(), current.UserID); err != nil {
		return err
	}
	redirect(w, r, "/")
	return nil
}
