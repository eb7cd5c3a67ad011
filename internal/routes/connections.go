package routes

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"net/http"

	"github.com/go-chi/chi/v5"

	"cairn/internal/access"
	"cairn/internal/auth"
	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/session"
)

// connect begins an attempt to connect a provider to the signed-in user's account. A provider that is new becomes a
// sign-in method, so that requires a recent sign-in. One that an import brought, and that does not sign in, can be
// connected again without: it becomes a sign-in method only if the sign-in is recent.
func (s *server) connect(w http.ResponseWriter, r *http.Request) error {
	p, err := s.provider(chi.URLParam(r, "provider"))
	if err != nil {
		return err
	}
	current, _ := session.Current(r.Context())
	if !current.Recent {
		account, err := s.Accounts.Get(r.Context(), current.UserID)
		if err != nil {
			return err
		}
		if !account.Has(p.Key) {
			s.confirmFirst(w, r, intent{toConnect, p.Key})
			return nil
		}
	}
	return s.beginConnecting(w, r, p.Key, returnPath(r.PostForm.Get("next")))
}

// beginConnecting redirects to a provider's consent page, which leads on to next.
func (s *server) beginConnecting(w http.ResponseWriter, r *http.Request, provider, next string) error {
	p, err := s.provider(provider)
	if err != nil {
		return err
	}
	current, _ := session.Current(r.Context())
	if err := s.Accounts.StillAllowed(r.Context(), s.finishes(r, p, current.UserID)...); err != nil {
		return err
	}
	consent, err := s.Connections.Begin(r.Context(), p, s.owner(r), next)
	if err != nil {
		return &providerError{p, err}
	}
	redirect(w, r, consent)
	return nil
}

// signInAt begins an attempt to sign in with a provider. A cookie binds it to this browser. Later attempts share the
// cookie, so that several tabs can do this at once.
func (s *server) signInAt(w http.ResponseWriter, r *http.Request) error {
	p, err := s.provider(chi.URLParam(r, "provider"))
	if err != nil {
		return err
	}
	err = s.Accounts.Allow(r.Context(), s.consents(r)...)
	if err == nil {
		err = s.Accounts.StillAllowed(r.Context(), s.finishes(r, p, 0)...)
	}
	if err != nil {
		s.Observer.SignIn(p.Key, signInResult(err))
		return err
	}
	browser := cmp.Or(s.cookie(r, attemptCookie), rand.Text())
	owner, next := oauth.Owner{Browser: browser}, returnPath(r.PostForm.Get("next"))
	consent, err := s.OAuth.Begin(r.Context(), p, owner, next)
	if err != nil {
		return &providerError{p, err}
	}
	s.setCookie(w, attemptCookie, browser, s.OAuth.Limits().Attempt)
	redirect(w, r, consent)
	return nil
}

// owner is who may finish an attempt in this browser.
func (s *server) owner(r *http.Request) oauth.Owner {
	current, _ := session.Current(r.Context())
	return oauth.Owner{UserID: current.UserID, SessionID: current.ID, Browser: s.cookie(r, attemptCookie)}
}

// callback serves the address to which a provider sends people back. It removes the attempt before
// it looks at anything else, and answers with a redirect, so that code and state stay in no address
// bar. Once the code is on its way, a browser that leaves does not stop the exchange: the code is
// good only once.
func (s *server) callback(p *oauth.Provider) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		attempt, err := s.OAuth.Consume(r.Context(), p, r.URL.Query().Get("state"), s.owner(r))
		if err != nil {
			return s.attemptFailed(w, r, p, "/", err)
		}
		if finish := s.returnOf(attempt); finish != nil {
			return finish(Site{s}, w, r, attempt)
		}
		err = s.finish(w, r, attempt)
		if attempt.SignIn {
			s.Observer.SignIn(p.Key, signInResult(err))
		}
		if attempt.SignIn && (errors.Is(err, auth.ErrUnconfirmed) || errors.Is(err, auth.ErrDisabled)) {
			s.logRefusal(r, p.Key, err)
		}
		if errors.Is(err, oauth.ErrDenied) {
			s.declined(w, r, attempt)
			return nil
		}
		if err != nil {
			return s.attemptFailed(w, r, p, attempt.ReturnPath, err)
		}
		return nil
	}
}

// finish exchanges the code of a callback, and signs in or connects.
func (s *server) finish(w http.ResponseWriter, r *http.Request, attempt oauth.Attempt) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), s.Limits.Provider)
	defer cancel()
	grant, err := s.OAuth.Exchange(ctx, attempt, r.URL.Query(), func(subject string) error {
		return s.allowFinish(ctx, r, attempt, subject)
	})
	switch {
	case err != nil:
		return &providerError{attempt.Provider, err}
	case attempt.SignIn:
		return s.finishSignIn(ctx, w, r, attempt, grant)
	}
	return s.finishConnecting(ctx, w, r, attempt, grant)
}

func (s *server) declined(w http.ResponseWriter, r *http.Request, attempt oauth.Attempt) {
	_, signedIn := session.Current(r.Context())
	p := attempt.Provider
	switch {
	case !signedIn:
		redirect(w, r, "/login?notice=declined-"+p.Key)
		return
	case attempt.SignIn:
		s.flash(r, info, "You declined at "+p.Name+". Nothing was changed.")
	default:
		s.flashAt(r, atCard(p.Key), info, p.Name+" was not connected: you declined there. Nothing was changed.")
	}
	redirect(w, r, attempt.ReturnPath)
}

// finishSignIn signs in the owner of the account at the provider.
func (s *server) finishSignIn(
	ctx context.Context, w http.ResponseWriter, r *http.Request, attempt oauth.Attempt, grant oauth.Grant,
) error {
	p, in := attempt.Provider, s.signInOf(r, true, intentID(attempt.ReturnPath))
	invitation, err := s.invitation(r)
	if err != nil {
		return err
	}
	in.Invitation = invitation
	done, err := s.access.SignInWithProvider(ctx, grant, in)
	if waiting, ok := errors.AsType[*access.CodeNeeded](err); ok {
		return s.askForCode(w, r, waiting.Pending, attempt.ReturnPath)
	}
	if err != nil {
		return &providerError{p, err}
	}
	if invitation.ID != 0 {
		Site{s}.DropSecret(w, inviteLink)
	}
	s.rememberBrowser(w, done.Browser)
	s.Log.InfoContext(ctx, "signed in", "id", requestID(ctx), "user", done.UserID, "method", p.Key)
	if done.Act != "" {
		return s.carryOn(w, r, parseIntent(done.Act))
	}
	current, signedIn := session.Current(r.Context()) // as it was
	switch {
	case done.OtherAccount:
		s.flash(r, info, "You are signed in. Your other "+p.Name+" account stays the connected one.")
	case signedIn && current.UserID == done.UserID:
		s.flash(r, good, confirmed)
	default:
		s.tellConnected(r, p, grant)
	}
	redirect(w, r, attempt.ReturnPath)
	return nil
}

// finishConnecting stores the connection if the session in which the attempt began is still live.
func (s *server) finishConnecting(
	ctx context.Context, w http.ResponseWriter, r *http.Request, attempt oauth.Attempt, grant oauth.Grant,
) error {
	p := attempt.Provider
	err := s.access.Connect(ctx, attempt, grant)
	switch {
	case errors.Is(err, auth.ErrNotRecent):
		reauthenticate(w, r, attempt.ReturnPath)
		return nil
	case errors.Is(err, session.ErrEnded):
		redirect(w, r, signInURL(attempt.ReturnPath))
		return nil
	case err != nil:
		return &providerError{p, err}
	}
	s.Log.InfoContext(ctx, "connected", "id", requestID(ctx), "user", attempt.UserID, "provider", p.Key)
	s.tellConnected(r, p, grant)
	redirect(w, r, attempt.ReturnPath)
	return nil
}

func (s *server) tellConnected(r *http.Request, p *oauth.Provider, grant oauth.Grant) {
	if len(p.Missing(grant.Granted)) > 0 {
		s.flashAt(r, atCard(p.Key), info,
			p.Name+" is connected, but without your activities. You can allow them any time.")
		return
	}
	s.flashAt(r, atCard(p.Key), good, p.Name+" is connected.")
}

// check calls the provider, to see whether the connection works.
func (s *server) check(w http.ResponseWriter, r *http.Request) error {
	p, err := s.provider(chi.URLParam(r, "provider"))
	if err != nil {
		return err
	}
	if err := s.allowCall(r, p); err != nil {
		return err
	}
	current, _ := session.Current(r.Context())
	err = s.Connections.Check(r.Context(), p, current.UserID)
	switch {
	case errors.Is(err, connection.ErrReconnect):
		s.Log.InfoContext(r.Context(), "connection refused", "id", requestID(r.Context()),
			"user", current.UserID, "provider", p.Key, "reason", err)
		s.takeNotice(r) // an unread one may say that it works; the card says what is wrong
	case err != nil:
		return &providerError{p, checkError{err}}
	default:
		s.flashAt(r, atCard(p.Key), good, p.Name+" answered: the connection works.")
	}
	redirect(w, r, cardPath(p.Key))
	return nil
}

// disconnect deletes a connection at once. The provider is asked to revoke our access in the background.
func (s *server) disconnect(w http.ResponseWriter, r *http.Request) error {
	p, err := s.provider(chi.URLParam(r, "provider"))
	if err != nil {
		return err
	}
	current, _ := session.Current(r.Context())
	revoking, err := s.access.Disconnect(r.Context(), p, current.UserID)
	if err != nil {
		return &providerError{p, err}
	}
	s.Log.InfoContext(r.Context(), "disconnected",
		"id", requestID(r.Context()), "user", current.UserID, "provider", p.Key)
	s.flashNotice(r, disconnectedNotice(p, revoking))
	redirect(w, r, cardPath(p.Key))
	return nil
}

func disconnectedNotice(p *oauth.Provider, revoking bool) notice {
	n := notice{Kind: info, Place: atCard(p.Key), Link: Link{"Remove Cairn at " + p.Name, p.ManageURL}}
	switch {
	case revoking:
		n.Kind, n.Link = good, Link{}
		n.Text = p.Name + " is disconnected. We’re asking it to remove Cairn’s access, until it confirms."
	case connection.Revocable(p):
		n.Text = p.Name + " is disconnected, but we can’t ask it to remove Cairn’s access: " +
			"its saved access no longer works."
	default:
		n.Text = p.Name + " is disconnected, and its access is deleted here. Only you can remove Cairn there:"
	}
	return n
}
