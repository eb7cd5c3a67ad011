// Package routes serves browsers and the operator's tools. It has the site's URLs, pages and status codes, except for
// the paths of providers' callbacks (package config) and the pages of the change-over (package node).
//
//	routes.go       the whole URL map and the order of the middleware
//	observer.go     what is reported to the operator's metrics
//	limits.go       how long an answer may take
//	identity.go     the ids of a request in the log
//	repeated.go     failures that are logged once a minute with a count
//	headers.go      security headers
//	middleware.go   the log line, panics, time limits, pages that require a session
//	ratelimits.go   what each rate limit counts
//	framing.go      requests whose bodies have two lengths
//	input.go        reads what browsers send, once, or refuses it
//	signup.go       signing up; signin.go has signing in and out
//	invite.go       who may sign up, and invitations
//	code.go         the page for a code after the first factor; factor.go has setting up two-step verification
//	reset.go        a forgotten password
//	verify.go       proving the address of an account; email.go has changing it, and undoing that
//	undo.go         ending the time in which a change of address can be undone
//	reject.go       "this wasn't me": locking an intruder out
//	mails.go        what messages say
//	events.go       what happened to an account, in words
//	cookies.go      cookies by which browsers are recognised
//	connections.go  the providers: begin, come back, check, disconnect
//	pages.go        home, the page of connections, and the parts that their script loads
//	privacy.go      the page that says what is kept
//	cards.go        what pages show of each connection
//	entries.go      the newest entries of a provider, and fetching them
//	feed.go         days made of them; stones.go, facts.go and week.go have their drawings and figures
//	states.go       states and history of connections, in words
//	account.go      the account page and its forms
//	methods.go      providers as sign-in methods
//	passkeys.go     signing in with passkeys; ownpasskeys.go has adding, renaming and removing them
//	preferences.go  units and time zone
//	messages.go     which messages a person wants
//	times.go        times in words
//	avatars.go      people's pictures
//	confirm.go      re-authentication, before sign-in methods change or the account goes
//	intents.go      what a person asked for before that
//	download.go     the archive of a person's data
//	warning.go      the pages before something irreversible
//	deletion.go     deleting the account
//	sessions.go     the list of a person's sessions, and ending them
//	notices.go      the result of an action, on the next page
//	api.go          the Node server's JSON, and health
//	webhooks.go     the providers' webhooks
//	errors.go       kind of error → status and sentences; the only writer of error pages
//	failures.go     failures between us and a provider, in words
//	render.go       page sets, parsed at start, written from a buffer; fold.go makes what is constant in them once
//	static.go       assets, cached for ever under the hash of their content
//	compress.go     compression
//	returnpath.go   where a person may be sent after signing in
//	secretlink.go   links with a secret; mailedlink.go has the pages of those in messages
//	part.go         parts of the site that live in packages of their own
//
// A handler gets a request that has been read and checked, calls other packages and answers. It returns
// errors, and page turns them into error pages. A GET changes nothing, except that a provider's
// callback consumes its attempt.
package routes

import (
	"context"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"

	"cairn/internal/access"
	"cairn/internal/activity"
	"cairn/internal/auth"
	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/session"
)

// Deps are what the routes depend on. TrustedProxies, Sandbox, Observer, Limits, Stop and Parts may be
// zero.
type Deps struct {
	PublicURL      *url.URL // where browsers reach us; nothing is ever built from a request's Host
	TrustedProxies []netip.Prefix
	Log            *slog.Logger
	Sessions       *session.Manager
	Accounts       *auth.Accounts
	OAuth          *oauth.Client
	Connections    *connection.Store
	Providers      oauth.Registry // those at which we are registered
	Sandbox        *Sandbox       // nil: the providers are the real ones
	Activity       *activity.Store
	WebhookKey     string // in the addresses of webhooks; at least 128 bits, URL-safe
	Web            *Web
	Ready          func(context.Context) error // nil when we can take traffic
	Instance       string                      // the id of this process
	Operator       string                      // whom people can ask; "": not said
	Observer       Observer
	Limits         Limits
	Stop           <-chan struct{} // closed when downloads have to end; nil: never
	Parts          []Part
}

// Sandbox simulates the providers below /sandbox, on a host that is another site to browsers than
// ours.
type Sandbox struct {
	Host      string // with port: "127.0.0.1:3001"
	Handler   http.Handler
	TakesMail bool // in its mailbox
}

const maxBody = 64 << 10 // of a form

type server struct {
	Deps
	access      access.Access
	links       []SecretLink
	zones       sync.Map // of *time.Location, by name
	zoneOptions template.HTML
	summary     string // what the site is for

	downloads downloads

	broken []byte // the page for our own failures: rendered at start, so that it can't fail later

	outage   *repeated // requests that fail because the database is unavailable
	notReady *repeated // probes of /readyz that fail
}

// New returns the handler of the whole site.
func New(d Deps) (http.Handler, error) {
	s, err := newServer(d)
	if err != nil {
		return nil, err
	}
	crossOrigin := http.NewCrossOriginProtection()
	if err := crossOrigin.AddTrustedOrigin(d.PublicURL.Scheme + "://" + d.PublicURL.Host); err != nil {
		return nil, err
	}
	for _, p := range d.Parts {
		for _, pattern := range p.Foreign {
			crossOrigin.AddInsecureBypassPattern(pattern)
		}
	}
	refused := s.handle(func(http.ResponseWriter, *http.Request) error { return errCrossSite })
	crossOrigin.SetDenyHandler(s.unknown(refused)) // no form of ours is where a part answers what no route is for
	compressed, err := compression()
	if err != nil {
		return nil, err
	}
	r := chi.NewRouter()
	r.Use(s.identified, clientIP(d.TrustedProxies), withOrigin, s.observeProxies, s.logged)
	r.Use(s.headers, compressed, s.recovered, s.bounded, s.knownHosts, s.oneSite, s.secretLinks, crossOrigin.Handler)
	return r, s.mount(r)
}

// newServer makes what requests share.
func newServer(d Deps) (*server, error) {
	s := &server{Deps: d, zoneOptions: zoneOptions(), summary: summaryOf(d.Providers)}
	s.access = access.Access{
		Sessions: d.Sessions, Accounts: d.Accounts, Connections: d.Connections, Providers: d.Providers,
	}
	s.links = []SecretLink{signUpLink, resetLink, verifyLink, changeLink, undoLink, rejectLink, inviteLink}
	for _, p := range d.Parts {
		s.links = append(s.links, p.Links...)
		if p.LockOut != nil {
			s.access.LockOut = append(s.access.LockOut, p.LockOut)
		}
	}
	s.Observer, s.Limits = d.Observer.withDefaults(), d.Limits.withDefaults()
	s.outage = &repeated{
		log:     d.Log,
		level:   slog.LevelError,
		message: "requests failed: the database can't be used",
		every:   s.Limits.Repeat,
	}
	s.notReady = &repeated{log: d.Log, level: slog.LevelWarn, message: "not ready", every: s.Limits.Repeat}
	s.downloads = downloads{max: s.Limits.Downloads, busy: map[int64]bool{}}
	var err error
	s.broken, err = s.renderBroken()
	return s, err
}

// mount is the URL map. It fails if the callback of a provider has the path of something else.
func (s *server) mount(r chi.Router) (err error) {
	hooks := session.Hooks{Address: address, Gone: s.sessionGone, Failed: s.fail, ForPage: forPage}
	within := func(limit time.Duration) func(http.Handler) http.Handler { // the session's lookup included
		return func(next http.Handler) http.Handler { return deadline(limit)(s.Sessions.Handler(hooks)(next)) }
	}
	pages, atProviders := within(s.Limits.Page), within(s.Limits.Provider)
	r.NotFound(s.unknown(pages(s.handle(func(http.ResponseWriter, *http.Request) error { return errNoPage }))))
	r.MethodNotAllowed(s.unknown(pages(http.HandlerFunc(s.methodNotAllowed))))
	get(r, "/health", s.health)
	get(r, "/healthz", s.healthz)
	get(r.With(deadline(s.Limits.Probe)), "/readyz", s.readyz)
	get(r, "/static/{file}", s.static)
	s.atRoot(r)
	get(r, "/.well-known/change-password", func(w http.ResponseWriter, r *http.Request) {
		redirect(w, r, passwordPath)
	})
	if s.Sandbox != nil {
		r.Mount("/sandbox", s.Sandbox.Handler)
	}
	r.Group(s.webhooks)
	r.Group(func(r chi.Router) {
		r.Use(s.checked(pages))
		r.Get(MePath, s.me)
		s.open(r)
		s.addParts(r)
		r.Group(s.signedIn)
	})
	s.addAPIs(r) // may take the place of routes above
	r.Group(func(r chi.Router) {
		r.Use(s.checked(atProviders))
		r.Post(codePath, s.handle(s.enterCode)) // may go on to connect
		r.Group(s.asking)
		err = s.callbacks(r)
	})
	return err
}

// open is for everyone.
func (s *server) open(r chi.Router) {
	get(r, "/", s.handle(s.home))
	get(r, "/signup", s.handle(s.signUpPage))
	r.Post("/signup", s.handle(s.signUp))
	get(r, "/login", s.handle(s.signInPage))
	r.Post("/login", s.handle(s.signIn))
	r.Post("/login/passkey/options", s.handle(s.passkeyOptions))
	r.Post("/login/passkey", s.handle(s.signInWithPasskey))
	get(r, "/login/passkey", func(w http.ResponseWriter, r *http.Request) { redirect(w, r, "/login") })
	get(r, codePath, s.handle(s.codePage))
	r.Post("/login/{provider}", s.handle(s.signInAt))
	get(r, forgotPath, s.handle(s.forgotPage))
	r.Post(forgotPath, s.handle(s.forgot))
	get(r, mailedPath, s.handle(s.mailed))
	s.addMailed(r, s.signUpConfirmation())
	s.addMailed(r, s.passwordReset())
	s.addMailed(r, s.emailUndo())
	s.addMailed(r, s.rejecting())
	r.Post("/logout", s.handle(s.signOut))
	get(r, deletedPath, s.handle(s.deleted))
	get(r, "/privacy", s.handle(s.privacy))
	r.Get("/api/auth/login", func(w http.ResponseWriter, r *http.Request) { redirect(w, r, "/login") })
}

// callbacks are at configured paths, so one may collide with another route.
func (s *server) callbacks(r chi.Router) error {
	for _, p := range s.Providers {
		path := p.CallbackPath()
		if r.Match(chi.NewRouteContext(), http.MethodGet, path) {
			return fmt.Errorf("routes: the callback of %s can't be at %s, because something else is there",
				p.Name, path)
		}
		r.Get(path, s.handle(s.callback(p)))
	}
	return nil
}

// signedIn is for people with a session; others are asked to sign in first.
func (s *server) signedIn(r chi.Router) {
	r.Use(mustSignIn)
	get(r, "/days/now", s.handle(s.daysNow))
	get(r, connectionsPath, s.handle(s.connections))
	get(r, "/connections/now", s.handle(s.connectionsNow))
	get(r, avatarPath, s.handle(s.avatar))
	get(r, avatarPath+"s/{provider}", s.handle(s.avatar))
	get(r, "/account", s.handle(s.account))
	r.With(s.limited(s.changes)).Post("/account/name", s.handle(s.rename))
	r.With(s.limited(s.changes)).Post(preferencesPath, s.handle(s.prefer))
	r.With(s.limited(s.changes)).Post(zonePath, s.handle(s.guessZone))
	r.With(s.limited(s.changes)).Post(messagesPath, s.handle(s.chooseMessages))
	// A form with problems is shown again at the address it was posted to.
	for _, form := range []string{"/account/name", "/account/password", preferencesPath} {
		get(r, form, func(w http.ResponseWriter, r *http.Request) { redirect(w, r, "/account") })
	}
	r.Post("/account/password", s.handle(s.setPassword))
	r.Post("/account/email/send", s.handle(s.sendVerification))
	s.addMailed(r, s.verification(), s.limited(s.changes))
	s.addMailed(r, s.emailChange(), s.limited(s.changes))
	get(r, "/account/email/undo/{id}/end", s.handle(s.endUndoPage))
	r.With(s.limited(s.changes)).Post("/account/email/undo/{id}/end", s.handle(s.endUndo))
	get(r, confirmPath, s.handle(s.confirmPage))
	r.Post(confirmPath+"/passkey/options", s.handle(s.passkeyConfirmOptions))
	get(r, confirmPath+"/passkey", func(w http.ResponseWriter, r *http.Request) { redirect(w, r, "/account") })
	get(r, "/account/passkeys/{id}/rename", s.handle(s.renamePasskeyPage))
	r.With(s.limited(s.changes)).Post("/account/passkeys/{id}/rename", s.handle(s.renamePasskey))
	get(r, "/account/passkeys/{id}/remove", s.handle(s.removePasskeyPage))
	r.With(s.limited(s.changes)).Post("/account/passkeys/{id}/remove", s.handle(s.removePasskey))
	r.With(s.limited(s.changes)).Post("/account/passkeys/decline", s.handle(s.declinePasskey))
	r.With(s.limited(s.changes)).Post("/account/browsers/{id}/distrust", s.handle(s.distrust))
	get(r, "/account/sessions/end-others", s.handle(s.endOtherSessionsPage))
	r.With(s.limited(s.changes)).Post("/account/sessions/end-others", s.handle(s.endOtherSessions))
	get(r, "/account/sessions/{id}/end", s.handle(s.endSessionPage))
	r.With(s.limited(s.changes)).Post("/account/sessions/{id}/end", s.handle(s.endSession))
	get(r, "/account/password/remove", s.handle(s.removePasswordPage))
	r.With(s.limited(s.changes)).Post("/account/password/remove", s.handle(s.removePassword))
	// The release before has the second address in its pages.
	for _, path := range []string{"/account/methods/{id}/remove", "/account/ways/{id}/remove"} {
		get(r, path, s.handle(s.removeIdentityPage))
		r.With(s.limited(s.changes)).Post(path, s.handle(s.removeIdentity))
	}
	get(r, "/account/methods/{id}/allow", s.handle(s.allowIdentityPage))
	r.With(s.limited(s.changes)).Post("/account/methods/{id}/allow", s.handle(s.allowIdentity))
	get(r, "/connections/{provider}/disconnect", s.handle(s.disconnectPage))
	r.With(s.limited(s.changes)).Post("/connections/{provider}/disconnect", s.handle(s.disconnect))
	r.Post("/connections/{provider}/refresh", s.handle(s.refresh))
	r.Post("/days/refresh", s.handle(s.refreshAll))
	r.Post("/account/data", s.handle(s.download))
	r.Group(func(r chi.Router) {
		r.Use(s.mustBeRecent)
		get(r, emailPath, s.handle(s.changeEmailPage))
		r.Post(emailPath, s.handle(s.requestChange))
		s.twoStepPages(r)
		get(r, newPasskeyPath, s.handle(s.newPasskeyPage))
		r.With(s.limited(s.changes)).Post(newPasskeyPath, s.handle(s.addPasskey))
		r.With(s.limited(s.changes)).Post(newPasskeyPath+"/options", s.handle(s.newPasskeyOptions))
		get(r, "/account/delete", s.handle(s.deletion))
		r.With(s.limited(s.changes)).Post("/account/delete", s.handle(s.deleteAccount))
	})
}

// twoStepPages change two-step verification.
func (s *server) twoStepPages(r chi.Router) {
	get(r, appPath, s.handle(s.appPage))
	r.With(s.limited(s.changes)).Post(appPath, s.handle(s.addApp))
	get(r, appPath+"/remove", s.handle(s.removeAppPage))
	r.With(s.limited(s.changes)).Post(appPath+"/remove", s.handle(s.removeApp))
	get(r, recoveryPath, s.handle(s.newCodesPage))
	r.With(s.limited(s.changes)).Post(recoveryPath, s.handle(s.makeCodes))
	get(r, "/account/methods/{id}/code", s.handle(s.skipCodePage))
	r.With(s.limited(s.changes)).Post("/account/methods/{id}/code", s.handle(s.skipCode))
}

// asking is for people with a session too, and may wait for a provider.
func (s *server) asking(r chi.Router) {
	r.Use(mustSignIn)
	// It waits while an earlier connection is being revoked.
	r.With(s.limited(s.consents)).Post("/connect/{provider}", s.handle(s.connect))
	r.Post("/connections/{provider}/check", s.handle(s.check))
	r.Post(confirmPath, s.handle(s.confirm)) // may go on to connect
	r.Post(confirmPath+"/passkey", s.handle(s.confirmWithPasskey))
}

// get serves GET and HEAD of a path. It is not for callbacks: a scanner's HEAD would consume the
// attempt.
func get(r chi.Router, path string, h http.HandlerFunc) {
	r.Get(path, h)
	r.Head(path, h)
}
