package node

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"cairn/internal/activity"
	"cairn/internal/auth"
	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/routes"
)

// frontend serves the old front end, which is a site of its own, at FRONTEND_URL. It sends the token of a private link
// with each request, in the query or in a header. Such requests have no session: a token lets its holder do what these
// routes do, and nothing else.
type frontend struct {
	links
	site        routes.Site
	connections *connection.Store
	activity    *activity.Store
	origin      string // of the front end, as browsers send it
	address     string // FRONTEND_URL
}

// foreign are the routes that change something and may be called from the front end's site.
func (n *Node) foreign() []string {
	if n.deps.Config.Node.FrontendURL == nil {
		return nil
	}
	return []string{"DELETE /api/strava/disconnect", "DELETE /api/garmin/disconnect", "POST /api/strava/sync"}
}

// frontend returns what serves the old front end; ok is false if there is none.
func (p part) frontend(site routes.Site) (f frontend, ok bool) {
	at := p.deps.Config.Node.FrontendURL
	if at == nil {
		return frontend{}, false
	}
	return frontend{p.links, site, p.connections, p.entries, originOf(at), strings.TrimRight(at.String(), "/")}, true
}

// originOf is what browsers send as Origin from a site: without its path, and without the port that its scheme implies.
func originOf(site *url.URL) string {
	host := strings.ToLower(site.Host)
	if port := map[string]string{"http": ":80", "https": ":443"}[site.Scheme]; port != "" {
		host = strings.TrimSuffix(host, port)
	}
	return site.Scheme + "://" + host
}

// returned finishes an attempt that the front end began.
func (p part) returned(
	finish func(frontend, http.ResponseWriter, *http.Request, oauth.Attempt) error,
) routes.Return {
	return func(site routes.Site, w http.ResponseWriter, r *http.Request, attempt oauth.Attempt) error {
		f, ok := p.frontend(site)
		if !ok {
			return site.NotFound()
		}
		w.Header().Set("Cache-Control", "no-store")
		r, cancel := site.Lasting(r)
		defer cancel()
		return finish(f, w, r, attempt)
	}
}

func (p part) api(site routes.Site, r chi.Router) {
	f, ok := p.frontend(site)
	if !ok {
		return
	}
	r.Group(func(r chi.Router) {
		r.Use(f.crossOrigin)
		byToken, bySession := site.API(f.me), site.Me()
		r.Get(routes.MePath, func(w http.ResponseWriter, r *http.Request) {
			if f.foreign(r) {
				byToken(w, r)
				return
			}
			bySession.ServeHTTP(w, r)
		})
		r.Get("/api/auth/login", site.API(f.login))
		r.Get("/api/strava/auth/start", site.API(f.start(strava, "authorizationUrl")))
		r.Get("/api/garmin/connect", site.API(f.start(garmin, "authUrl")))
		r.Get("/api/strava/status", site.API(f.status(strava)))
		r.Get("/api/garmin/status", site.API(f.status(garmin)))
		r.Delete("/api/strava/disconnect", site.API(f.disconnect(strava)))
		r.Delete("/api/garmin/disconnect", site.API(f.disconnect(garmin)))
		r.Post("/api/strava/sync", site.API(f.sync))
		r.Get("/api/strava/sync/status/{job}", site.API(f.syncStatus))
	})
}

// unknown answers what no route is for: a browser that asks whether the front end may call something, and everybody
// else as the Node server did.
func (p part) unknown(site routes.Site, r *http.Request) http.Handler {
	f, ok := p.frontend(site)
	if !ok || !strings.HasPrefix(r.URL.Path, "/api/") {
		return nil
	}
	if r.Method == http.MethodOptions {
		return f.crossOrigin(http.HandlerFunc(f.preflight))
	}
	return f.crossOrigin(site.API(f.notFound))
}

// crossOrigin lets the front end's pages, and no others, read the answers.
func (f frontend) crossOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Origin")
		w.Header().Set("Access-Control-Allow-Origin", f.origin)
		next.ServeHTTP(w, r)
	})
}

func (f frontend) preflight(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Access-Control-Allow-Methods", "GET, POST, DELETE")
	w.Header().Set("Access-Control-Allow-Headers", tokenHeader+", content-type")
	w.Header().Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
}

const tokenHeader = "x-auth-token"

// foreign reports whether a request is to be judged by its token alone: it brings one, or is not from our own pages.
func (f frontend) foreign(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	return r.URL.Query().Has("token") || len(r.Header.Values(tokenHeader)) > 0 ||
		origin != "" && origin != originOf(f.site.PublicURL())
}

// answerError is an answer that the Node server would have given.
type answerError struct {
	status  int
	message string
	detail  string // for people; "": none
}

func (e answerError) Error() string { return "node: " + e.message }

var (
	errNoLink   = answerError{http.StatusUnauthorized, "Authentication required", "Please open your private link."}
	errBadLink  = answerError{http.StatusUnauthorized, "Invalid token", "This private link doesn’t work."}
	errDisabled = answerError{http.StatusForbidden, "Account disabled", "This account is disabled."}
	errUnknown  = answerError{http.StatusNotFound, "Not found", ""}
)

// user returns whose token a request has. A valid token is never refused: the front end forgets it then. Tokens that
// are unknown count for the network. Errors: answerError.
func (f frontend) user(r *http.Request) (userID int64, err error) {
	tokens := r.URL.Query()["token"]
	if len(tokens) == 0 {
		tokens = r.Header.Values(tokenHeader)
	}
	switch {
	case len(tokens) == 0 || len(tokens) == 1 && tokens[0] == "":
		return 0, errNoLink
	case len(tokens) > 1 || !linkShape.MatchString(tokens[0]):
		return 0, errBadLink
	}
	userID, _, err = f.find(r.Context(), tokens[0])
	if errors.Is(err, errLink) {
		err = errBadLink
		if limited := f.site.Allow(r, f.site.Limits().LinkNetwork.From(f.site.Address(r))); limited != nil {
			err = limited
		}
	}
	return userID, err
}

// as calls a handler with the user whose token a request has, and answers an answerError.
func (f frontend) as(w http.ResponseWriter, r *http.Request, h func(userID int64) error) error {
	userID, err := f.user(r)
	if err == nil {
		err = f.site.Enabled(r, userID)
	}
	if err == nil {
		err = h(userID)
	}
	switch {
	case errors.Is(err, auth.ErrNotFound): // the account was deleted meanwhile
		err = errBadLink
	case errors.Is(err, auth.ErrDisabled):
		err = errDisabled
	}
	answer, ok := errors.AsType[answerError](err)
	if !ok {
		return err
	}
	body := map[string]string{"error": answer.message}
	if answer.detail != "" && r.URL.Path != routes.MePath { // which says nothing but what the error is
		body["message"] = answer.detail
	}
	return f.site.JSON(w, answer.status, body)
}

func (f frontend) notFound(w http.ResponseWriter, r *http.Request) error {
	return f.site.JSON(w, errUnknown.status, map[string]string{"error": errUnknown.message})
}

func (f frontend) me(w http.ResponseWriter, r *http.Request) error {
	return f.as(w, r, func(userID int64) error {
		account, err := f.site.Account(r.Context(), userID)
		if err != nil {
			return err
		}
		kept, err := f.activity.WithoutEntries(r.Context(), userID)
		if err != nil {
			return err
		}
		id, err := f.nodeID(r.Context(), userID)
		if err != nil {
			return err
		}
		if err := f.noteUse(r.Context(), userID); err != nil {
			return err
		}
		return f.site.JSON(w, http.StatusOK, struct {
			ID          int64   `json:"id"`
			DisplayName string  `json:"displayName"`
			AvatarURL   *string `json:"avatarUrl"`
			LastSyncAt  *string `json:"lastSyncAt"`
		}{id, account.Name, orNull(account.AvatarURL), timeOrNull(kept[foursquare].AsOf)})
	})
}

// connectionOf returns a user's connection to a provider, if it works.
func (f frontend) connectionOf(
	ctx context.Context, userID int64, provider string,
) (c connection.Connection, works bool, err error) {
	overview, err := f.connections.Overview(ctx, userID)
	c, there := overview.Connections[provider]
	return c, there && c.State != connection.NeedsReconnect, err
}

func (f frontend) status(provider string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		return f.as(w, r, func(userID int64) error {
			c, connected, err := f.connectionOf(r.Context(), userID, provider)
			if err != nil {
				return err
			}
			if !connected {
				return f.site.JSON(w, http.StatusOK, map[string]any{"connected": false})
			}
			kept, err := f.activity.WithoutEntries(r.Context(), userID)
			if err != nil {
				return err
			}
			answer := map[string]any{
				"connected": true, "connectedAt": stamp(c.Since), "lastSyncAt": timeOrNull(kept[provider].AsOf),
			}
			if provider == strava {
				answer["athleteId"] = c.Subject
			} else {
				answer["syncActivities"] = slices.Contains(c.Granted, "ACTIVITY_EXPORT")
			}
			return f.site.JSON(w, http.StatusOK, answer)
		})
	}
}

func (f frontend) disconnect(provider string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		return f.as(w, r, func(userID int64) error {
			p := f.site.Provider(provider)
			if p == nil {
				return errUnknown
			}
			if err := f.site.AllowChange(r, userID); err != nil {
				return err
			}
			_, err := f.site.Access().Disconnect(r.Context(), p, userID)
			switch {
			case err == nil:
				f.site.Log(r, "disconnected", userID, p)
			case !errors.Is(err, connection.ErrNotFound):
				return err
			}
			return f.site.JSON(w, http.StatusOK, map[string]bool{"success": true})
		})
	}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func timeOrNull(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return new(stamp(t))
}

func orNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
