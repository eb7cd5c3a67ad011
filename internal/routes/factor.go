package routes

import (
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"cairn/internal/auth"
	"cairn/internal/session"
	"cairn/internal/totp"
)

// Pages of two-step verification. All but the list of trusted browsers need a recent sign-in.
const (
	appPath      = "/account/app"
	recoveryPath = "/account/recovery-codes"
)

// twoStepView is a section of the account page.
type twoStepView struct {
	auth.SecondFactor
	Passkeys bool // the account has some
	Trusted  []trustedBrowser
	Notice   *notice
}

type trustedBrowser struct {
	ID, Browser string
	Until       time.Time
}

func (s *server) twoStep(r *http.Request, account auth.Detail, v *view) twoStepView {
	two := twoStepView{SecondFactor: account.Second, Passkeys: len(account.Passkeys) > 0, Notice: v.claim(atTwoStep)}
	for _, b := range account.Trusted {
		two.Trusted = append(two.Trusted, trustedBrowser{b.ID, browserInWords(b.UserAgent), b.Until.In(s.zoneOf(r))})
	}
	return two
}

// appView is the page that sets up an authenticator app.
type appView struct {
	view
	Replaces     bool // an app that is there
	QR           totp.Drawing
	Link         template.URL // opens an app on this device
	Secret       string       // in groups of four
	SealedSecret string
	Errors       map[string]string
}

// Quiet is the size of the QR code with its white margin.
func (v appView) Quiet() int { return v.QR.Size + 8 }

func (s *server) appPage(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	secret, sealed := s.Accounts.SetUpApp(current.UserID)
	return s.showApp(w, r, http.StatusOK, secret, appView{SealedSecret: sealed})
}

func (s *server) showApp(w http.ResponseWriter, r *http.Request, status int, secret totp.Secret, v appView) error {
	current, _ := session.Current(r.Context())
	account, err := s.Accounts.Get(r.Context(), current.UserID)
	if err != nil {
		return err
	}
	name := account.Email
	if name == "" {
		name = account.Name
	}
	uri := secret.URI(s.PublicURL.Host, name)
	if v.QR, err = totp.QR(uri); err != nil {
		return err
	}
	v.view, v.Replaces = s.view(r, formTitle("Set up an authenticator app", v.Errors)), account.Second.HasApp()
	v.Link, v.Secret = template.URL(uri), secret.Spelled()
	w.Header().Set("Cache-Control", "no-store")
	return s.render(w, status, "app", v)
}

// addApp adds an authenticator app that has shown a right code.
func (s *server) addApp(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	sealed := r.PostForm.Get("secret")
	secret, err := s.Accounts.SecretOf(current.UserID, sealed)
	if errors.Is(err, auth.ErrNotFound) { // another account's, or none
		redirect(w, r, appPath)
		return nil
	}
	var app auth.NewApp
	if err == nil {
		app, err = s.Accounts.CheckNewApp(r.Context(), current.UserID, sealed, r.PostForm.Get("code"), address(r))
	}
	if status, problems, ok := s.formProblem(w, err); ok {
		return s.showApp(w, r, status, secret, appView{SealedSecret: sealed, Errors: problems})
	}
	if err != nil {
		return err
	}
	codes, err := s.access.AddApp(r.Context(), current.UserID, s.cookie(r, browserCookie), app)
	if err != nil {
		return err
	}
	s.logFactor(r, "authenticator app added")
	const added = "Your authenticator app is set up. You’ll need a code to sign in with a password or a provider."
	if codes != nil {
		return s.showCodes(w, r, added, codes)
	}
	s.flashAt(r, atTwoStep, good, added)
	redirect(w, r, "/account#"+atTwoStep)
	return nil
}

func (s *server) logFactor(r *http.Request, did string) {
	current, _ := session.Current(r.Context())
	s.Log.InfoContext(r.Context(), did, "id", requestID(r.Context()), "user", current.UserID)
}

// codesEnd says what becomes of recovery codes when the last passkey or app is removed.
var codesEnd = Loss{"key", "Your recovery codes stop working", "You get new ones with a new app or passkey"}

func (s *server) removeAppPage(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	account, err := s.Accounts.Get(r.Context(), current.UserID)
	switch {
	case err != nil:
		return err
	case !account.Second.HasApp():
		return errNoPage
	}
	losses := []Loss{{"password", "We no longer ask for a code when you sign in", "A password or a provider is enough"}}
	if len(account.Passkeys) == 0 {
		losses = append(losses, codesEnd)
	}
	return s.warn(w, r, Warning{
		Heading: "Remove your authenticator app?", Losses: append(losses, othersEnd),
		Button: "Remove app", Keep: Link{"Keep it", "/account#" + atTwoStep},
	})
}

func (s *server) removeApp(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	browser, err := s.access.RemoveApp(r.Context(), current.UserID)
	if errors.Is(err, auth.ErrNotFound) {
		return errNoPage
	}
	if err != nil {
		return err
	}
	s.rememberBrowser(w, browser)
	s.logFactor(r, "authenticator app removed")
	s.flashAt(r, atTwoStep, good, "Your authenticator app was removed. You’re signed out on your other devices.")
	redirect(w, r, "/account#"+atTwoStep)
	return nil
}

// codesView is the page that shows recovery codes, once.
type codesView struct {
	view
	Lead  string
	Codes []string
	File  template.URL
}

// showCodes answers the form that has made recovery codes: they are shown now or never.
func (s *server) showCodes(w http.ResponseWriter, r *http.Request, lead string, codes []string) error {
	text := "Recovery codes for " + s.PublicURL.Host + "\nEach works once.\n\n" + strings.Join(codes, "\n") + "\n"
	w.Header().Set("Cache-Control", "no-store")
	return s.render(w, http.StatusOK, "recovery", codesView{
		view: s.view(r, "Your recovery codes"), Lead: lead, Codes: codes,
		File: template.URL("data:text/plain;charset=utf-8," + url.PathEscape(text)),
	})
}

func (s *server) newCodesPage(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	account, err := s.Accounts.Get(r.Context(), current.UserID)
	switch {
	case err != nil:
		return err
	case !account.Second.On && len(account.Passkeys) == 0:
		return errNoPage
	}
	losses := []Loss{
		{"key", "You get ten codes, and see them once", "Keep them where you’ll find them without your phone"},
	}
	if account.Second.Codes > 0 {
		left := strconv.Itoa(account.Second.Codes) + " of them are left"
		losses = append(losses, Loss{"x", "Your earlier codes stop working", left})
	}
	return s.warn(w, r, Warning{
		Heading: "Make recovery codes?", Losses: losses,
		Button: "Make recovery codes", Harmless: account.Second.Codes == 0,
		Keep: Link{"Not now", "/account#" + atTwoStep},
	})
}

func (s *server) makeCodes(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	made, err := s.Accounts.NewCodes(r.Context())
	if err == nil {
		err = s.access.ReplaceCodes(r.Context(), current.UserID, made)
	}
	if errors.Is(err, auth.ErrNotFound) {
		return errNoPage
	}
	if err != nil {
		return err
	}
	s.logFactor(r, "recovery codes made")
	return s.showCodes(w, r, "Only these codes work now.", made.Codes)
}

// skipCodePage asks whether a provider's account may sign in without a code, or is to be asked for one again.
func (s *server) skipCodePage(w http.ResponseWriter, r *http.Request) error {
	m, _, account, err := s.ownMethod(r, true)
	switch {
	case err != nil:
		return err
	case !account.Second.HasApp(), !m.TwoStep && !m.SkipsCode:
		return errNoPage
	}
	v := Warning{
		Provider: &providerView{Key: m.Key, Name: m.Name}, Lead: m.Label(),
		Heading: "Sign in with " + m.Name + " without a code?",
		Losses: []Loss{
			{"key", "Anyone who can sign in to this " + m.Name + " account gets in here without a code",
				"So turn on two-step verification at " + m.Name + " first"},
			{"shield-check", "Important changes still take a code",
				"Like adding a sign-in method, or deleting your account"},
		},
		Button: "Sign in without a code", Keep: Link{"Keep asking for a code", "/account#" + atMethods},
	}
	if m.SkipsCode {
		v.Heading, v.Button, v.Harmless = "Ask for a code after "+m.Name+"?", "Ask for a code", true
		v.Losses = []Loss{{"shield-check", "After signing in with " + m.Name + ", you enter a code here", ""}}
		v.Keep.Label = "Keep signing in without a code"
	}
	v.About = strconv.FormatBool(m.SkipsCode)
	return s.warn(w, r, v)
}

// skipCode does what was chosen there.
func (s *server) skipCode(w http.ResponseWriter, r *http.Request) error {
	m, _, account, err := s.ownMethod(r, true)
	skip := r.PostForm.Get("about") == "false"
	switch {
	case err != nil:
		return err
	case skip && (!account.Second.HasApp() || !m.TwoStep):
		return errNoPage
	}
	if _, err := s.access.SkipCode(r.Context(), account.ID, m.ID, skip); err != nil {
		return err
	}
	done := "We’ll ask for a code after you sign in with " + m.Name + "."
	if skip {
		done = "You can now sign in with " + m.Name + " without a code."
	}
	s.logFactor(r, "code after a provider changed")
	s.flashAt(r, atMethods, good, done)
	redirect(w, r, "/account#"+atMethods)
	return nil
}

// distrust ends the trust in a browser.
func (s *server) distrust(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	err := s.Accounts.Distrust(r.Context(), current.UserID, chi.URLParam(r, "id"))
	if errors.Is(err, auth.ErrNotFound) {
		return errNoPage
	}
	if err != nil {
		return err
	}
	s.logFactor(r, "trusted browser removed")
	s.flashAt(r, atTwoStep, good, "We’ll ask for a code in that browser again.")
	redirect(w, r, "/account#"+atTwoStep)
	return nil
}
