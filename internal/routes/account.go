package routes

import (
	"cmp"
	"errors"
	"net/http"
	"slices"

	"cairn/internal/access"
	"cairn/internal/auth"
	"cairn/internal/session"
)

type accountView struct {
	view
	Name        string
	Email       string // "": none
	AskEmail    bool   // a new password needs an address, which is not known
	HasPassword bool
	Recent      bool // has just signed in, so may change the sign-in methods
	Methods     []signInMethod
	OwnPasskeys []auth.Passkey
	PasskeysOn  bool   // this server can have passkeys
	Signal      string // what the script tells password managers; "": nothing
	TwoStep     twoStepView
	LastMethod  bool
	Cards       []card
	Providers   []providerView
	Devices     []device
	MoreDevices int // that are not listed
	Preferences preferencesView
	Sections    []Section
	Verified    bool // Email is
	MailRefused bool // by the server of Email
	MailOn      bool
	Undos       []undoView // of changes of Email
	Messages    []messageChoice
	Events      []accountEvent
	Errors      map[string]string
	Notices     map[string]*notice // by place
}

// Unconfirmed reports whether any of the methods does not sign in yet.
func (v accountView) Unconfirmed() bool {
	return slices.ContainsFunc(v.Methods, func(m signInMethod) bool { return !m.SignsIn })
}

func (s *server) account(w http.ResponseWriter, r *http.Request) error {
	return s.showAccount(w, r, http.StatusOK, nil, func(*accountView) {})
}

// showAccount shows the account page; keep restores what the person typed into a form with problems.
func (s *server) showAccount(
	w http.ResponseWriter, r *http.Request, status int, problems map[string]string, keep func(*accountView),
) error {
	current, _ := session.Current(r.Context())
	account, err := s.Accounts.Detail(r.Context(), current.UserID, access.FactorsOf(current), shownEvents)
	if err != nil {
		return err
	}
	cards, err := s.cards(r, current.UserID, s.Activity.WithoutEntries)
	if err != nil {
		return err
	}
	devices, more, err := s.devices(r, current, cards)
	if err != nil {
		return err
	}
	v := accountView{
		view:        s.view(r, formTitle("Your account", problems)),
		Name:        account.Name,
		Email:       account.Email,
		AskEmail:    account.Email == "",
		HasPassword: account.Password,
		Recent:      current.Recent,
		Methods:     methodsOf(account.Account, cards),
		OwnPasskeys: account.Passkeys,
		PasskeysOn:  s.Accounts.PasskeysOn(),
		LastMethod:  account.Methods() == 1,
		Cards:       cards,
		Providers:   s.providerViews(),
		Devices:     devices,
		MoreDevices: more,
		Preferences: s.preferences(r),
		Verified:    account.Verified,
		MailRefused: account.MailRefused,
		MailOn:      s.Accounts.MailOn(),
		Messages:    messageChoices(account.Account),
		Errors:      problems,
	}
	if v.Signal, err = s.Accounts.PasskeySignal(account.Account); err != nil {
		return err
	}
	v.Passkeys = v.Signal != ""
	v.Path, v.NeedsYou = "/account", len(broken(cards))
	v.Notices = map[string]*notice{}
	for _, place := range []string{atProfile, atEmail, atMessages, atMethods, atPassword, atSessions, atData} {
		v.Notices[place] = v.claim(place)
	}
	v.Preferences.Notice = v.claim(atPreferences)
	v.TwoStep = s.twoStep(r, account, &v.view)
	v.Undos, v.Events = s.undosInWords(r, account.Undos), s.eventsInWords(r, account.Events)
	if v.Sections, err = s.sections(r, &v.view); err != nil {
		return err
	}
	keep(&v)
	return s.render(w, status, "account", v)
}

// accountAndCards reads an account, and the cards, which have the names of its sign-in methods.
func (s *server) accountAndCards(r *http.Request, userID int64) (auth.Account, []card, error) {
	account, err := s.Accounts.Get(r.Context(), userID)
	if err != nil {
		return auth.Account{}, nil, err
	}
	cards, err := s.cards(r, userID, s.Activity.WithoutEntries)
	return account, cards, err
}

func (s *server) signedInWith(method string, cards []card) string {
	if words := s.methodInWords(method); words != "" {
		return words
	}
	if method == access.PasskeyMethod {
		return "with a passkey"
	}
	for _, c := range cards {
		if c.Key == method {
			return "with " + c.Name
		}
	}
	return "with your password"
}

func (s *server) rename(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	name := r.PostForm.Get("name")
	err := s.Accounts.Rename(r.Context(), current.UserID, name)
	if status, problems, ok := s.formProblem(w, err); ok {
		return s.showAccount(w, r, status, problems, func(v *accountView) { v.Name = name })
	}
	if err != nil {
		return err
	}
	s.flashAt(r, atProfile, good, "Saved")
	redirect(w, r, "/account")
	return nil
}

// setPassword changes the password, given the current one. Without one it adds a password, which requires a recent
// sign-in.
func (s *server) setPassword(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	account, err := s.Accounts.Get(r.Context(), current.UserID)
	if err != nil {
		return err
	}
	email, message := account.Email, "Your password was changed. You’re signed out on your other devices."
	switch {
	case account.Password:
		err = s.changePassword(w, r, current.UserID)
	case !current.Recent:
		reauthenticate(w, r, passwordPath)
		return nil
	case account.Email == "" && s.Accounts.MailOn(): // it is proven first
		redirect(w, r, emailPath)
		return nil
	default:
		email = cmp.Or(account.Email, r.PostForm.Get("email"))
		message = "You can now sign in with your e-mail and password too."
		err = s.addPassword(r, current.UserID, email)
	}
	status, problems, ok := s.formProblem(w, err)
	if errors.Is(err, auth.ErrCredentials) {
		problems = map[string]string{"current": "Wrong password"}
	}
	if ok {
		return s.showAccount(w, r, status, problems, func(v *accountView) {
			if v.AskEmail {
				v.Email = email
			}
		})
	}
	if err != nil {
		return err
	}
	s.Log.InfoContext(r.Context(), "password set", "id", requestID(r.Context()), "user", current.UserID)
	s.flashAt(r, atPassword, good, message)
	redirect(w, r, passwordPath)
	return nil
}

func (s *server) addPassword(r *http.Request, userID int64, email string) error {
	password, err := s.Accounts.NewPassword(r.Context(), userID, email, r.PostForm.Get("password"), address(r))
	if err != nil {
		return err
	}
	return s.access.AddPassword(r.Context(), userID, password)
}

// changePassword locks out everyone who knew the old password or stole a cookie.
func (s *server) changePassword(w http.ResponseWriter, r *http.Request, userID int64) error {
	if err := s.Accounts.Allow(r.Context(), s.passwordTries(r)...); err != nil {
		return err
	}
	change, err := s.Accounts.CheckPasswordChange(r.Context(), userID,
		r.PostForm.Get("current"), r.PostForm.Get("password"))
	if err != nil {
		return err
	}
	if err := s.resetPasswordTries(r); err != nil {
		return err
	}
	browser, err := s.access.ChangePassword(r.Context(), change)
	if err != nil {
		return err
	}
	s.rememberBrowser(w, browser)
	return nil
}

func (s *server) removePassword(w http.ResponseWriter, r *http.Request) error {
	if current, _ := session.Current(r.Context()); !current.Recent {
		s.confirmFirst(w, r, intent{verb: toRemovePassword})
		return nil
	}
	return s.removePasswordNow(w, r)
}

func (s *server) removePasswordNow(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	browser, err := s.access.RemovePassword(r.Context(), current.UserID)
	if err != nil {
		return err
	}
	s.rememberBrowser(w, browser)
	s.Log.InfoContext(r.Context(), "password removed", "id", requestID(r.Context()), "user", current.UserID)
	s.flashAt(r, atMethods, good, "Your password was removed. You’re signed out on your other devices.")
	redirect(w, r, "/account#"+atMethods)
	return nil
}
