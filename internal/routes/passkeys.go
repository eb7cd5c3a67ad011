package routes

import (
	"cmp"
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"time"

	"cairn/internal/access"
	"cairn/internal/auth"
	"cairn/internal/passkey"
	"cairn/internal/session"
)

// passkeyForm is a form that a script fills in (passkeys.js): the script gets the options at an address, asks the
// browser, and sends its answer. So it takes the way of all forms.
type passkeyForm struct {
	Action  string
	Options string // where the options are
	Label   string // of the button
	Next    string
	New     bool // it makes a passkey
	Fills   bool // the browser offers passkeys in the e-mail field, too
	Keep    bool // the session outlives the browser, without Fills
}

// passkeySignIn is the form of the sign-in page; nil: this server can't have passkeys.
func (s *server) passkeySignIn(v *view, next string) *passkeyForm {
	if !s.Accounts.PasskeysOn() {
		return nil
	}
	v.Passkeys = true
	return &passkeyForm{Action: "/login/passkey", Options: "/login/passkey/options",
		Label: "Sign in with a passkey", Next: next, Fills: true}
}

// passkeyConfirm is the form on the page for re-authentication; nil: the account has no passkey that signs in.
func (s *server) passkeyConfirm(v *view, account auth.Account, next string) *passkeyForm {
	if !slices.ContainsFunc(account.Passkeys, func(k auth.Passkey) bool { return k.SignsIn }) {
		return nil
	}
	v.Passkeys = true
	return &passkeyForm{Action: confirmPath + "/passkey", Options: confirmPath + "/passkey/options",
		Label: "Use a passkey", Next: next}
}

// passkeyCookieLife is longer than a challenge is good.
const passkeyCookieLife = 15 * time.Minute

// askFor binds options to this browser. All of its tabs share the cookie, so that none takes another's challenge away.
func (s *server) askFor(w http.ResponseWriter, r *http.Request, p passkey.Purpose, userID int64) passkey.Asked {
	browser := cmp.Or(s.cookie(r, passkeyCookie), rand.Text())
	s.setCookie(w, passkeyCookie, browser, passkeyCookieLife)
	return passkey.Asked{Purpose: p, UserID: userID, Browser: browser}
}

// asked is what an answer from this browser has to be bound to.
func (s *server) asked(r *http.Request, p passkey.Purpose, userID int64) passkey.Asked {
	return passkey.Asked{Purpose: p, UserID: userID, Browser: s.cookie(r, passkeyCookie)}
}

// passkeyOptions are those to sign in with any passkey. They take no row.
func (s *server) passkeyOptions(w http.ResponseWriter, r *http.Request) error {
	options, err := s.Accounts.PasskeyOptions(r.Context(), s.askFor(w, r, passkey.ToSignIn, 0))
	return sendOptions(w, options, err)
}

// passkeyConfirmOptions are those to confirm with a passkey of the signed-in person.
func (s *server) passkeyConfirmOptions(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	options, err := s.Accounts.PasskeyOptions(r.Context(), s.askFor(w, r, passkey.ToConfirm, current.UserID))
	return sendOptions(w, options, err)
}

func sendOptions(w http.ResponseWriter, options []byte, err error) error {
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = w.Write(options) // an error means that the browser has gone
	return nil
}

// errNoAnswer says that a form for passkeys was sent without its script, which may still be on its way.
var errNoAnswer = &auth.FieldError{Field: "form",
	Message: "Passkeys need JavaScript. If it’s on, the page wasn’t fully loaded yet: please try again."}

// checkPasskey checks the answer in a form.
func (s *server) checkPasskey(r *http.Request, asked passkey.Asked) (proof auth.PasskeyProof, err error) {
	answer := r.PostForm.Get("answer")
	if answer == "" {
		return auth.PasskeyProof{}, errNoAnswer
	}
	limits := s.Accounts.Limits
	if err := s.Accounts.Allow(r.Context(), limits.SignInNetwork.From(address(r))); err != nil {
		return auth.PasskeyProof{}, err
	}
	proof, err = s.Accounts.CheckPasskey(r.Context(), asked, answer)
	if err == nil {
		err = s.Accounts.Allow(r.Context(), limits.PasskeyPerson.Of(proof.UserID))
	}
	return proof, err
}

func (s *server) signInWithPasskey(w http.ResponseWriter, r *http.Request) error {
	v := signInView{Next: returnPath(r.PostForm.Get("next")), Keep: r.PostForm.Get("keep") != ""}
	var done access.SignedIn
	proof, err := s.checkPasskey(r, s.asked(r, passkey.ToSignIn, 0))
	if err == nil {
		done, err = s.access.SignInWithPasskey(r.Context(), proof, s.signInOf(r, v.Keep, ""))
	}
	if unknown, ok := errors.AsType[*auth.UnknownPasskeyError](err); ok {
		v.UnknownPasskey = unknown.Signal
	}
	return s.answerSignIn(w, r, access.PasskeyMethod, v, done, err)
}

// confirmWithPasskey re-authenticates, as confirm does.
func (s *server) confirmWithPasskey(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	next := returnPath(r.PostForm.Get("next"))
	var done access.SignedIn
	proof, err := s.checkPasskey(r, s.asked(r, passkey.ToConfirm, current.UserID))
	if err == nil {
		done, err = s.access.SignInWithPasskey(r.Context(), proof, s.signInOf(r, current.Persistent, intentID(next)))
	}
	return s.answerConfirm(w, r, access.PasskeyMethod, next, done, err)
}

// passkeyProblem says what is wrong with an answer.
func passkeyProblem(err error) string {
	switch {
	case errors.Is(err, auth.ErrChallenge):
		return "That took too long, or was sent twice. Please try again."
	case errors.Is(err, auth.ErrPasskeyTaken):
		return "You’ve already added this passkey."
	case errors.Is(err, auth.ErrTooManyPasskeys):
		return "You have as many passkeys as an account can have. Please remove one first."
	}
	return "This passkey doesn’t work here. If you removed it from your account, remove it from your device, too."
}
