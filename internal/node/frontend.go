package node

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"

	"cairn/internal/activity"
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
var foreign = []string{"DELETE /api/strava/disconnect", "DELETE /api/garmin/disconnect", "POST /api/strava/sync"}

// frontend returns what serves the old front end; ok is false if there is none.
func (n *Node) frontend(site routes.Site) (f frontend, ok bool) {
	at := n.deps.Config.Node.FrontendURL
	if at == nil {
		return frontend{}, false
	}
	return frontend{n.links, site, n.connections, n.entries, at.Scheme + "://" + at.Host, at.String()}, true
}

// returned finishes an attempt that the front end began.
func (n *Node) returned(
	finish func(frontend, routes.Site, http.ResponseWriter, *http.Request, oauth.Attempt) error,
) routes.Return {
	return func(site routes.Site, w http.ResponseWriter, r *http.Request, attempt oauth.Attempt) error {
		f, ok := n.frontend(site)
		if !ok {
			return site.NotFound()
		}
		return finish(f, site, w, r, attempt)
	}
}

func (n *Node) api(site routes.Site, r chi.Router) {
	f, ok := n.frontend(site)
	if !ok {
		return
	}
	r.Group(func(r chi.Router) {
		r.Use(f.crossOrigin)
		me := site.Me()
		r.Get("/api/auth/me", func(w http.ResponseWriter, r *http.Request) {
			if f.foreign(r) {
				site.API(f.me)(w, r)
				return
			}
			me.ServeHTTP(w, r)
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
		for _, path := range []string{
			"/api/auth/me", "/api/strava/auth/start", "/api/garmin/connect", "/api/strava/status", "/api/garmin/status",
			"/api/strava/disconnect", "/api/garmin/disconnect", "/api/strava/sync", "/api/strava/sync/status/{job}",
		} {
			r.Options(path, f.preflight)
		}
		r.Get("/api/*", site.API(f.notFound))
		r.Post("/api/*", site.API(f.notFound))
		r.Delete("/api/*", site.API(f.notFound))
	})
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

// foreign reports whether a request is to be judged by its token alone.
func (f frontend) foreign(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	return r.URL.Query().Has("token") || r.Header.Get(tokenHeader) != "" || origin != "" && origin == f.origin
}

// answerError is an answer that the Node server would have given.
type answerError struct {
	status  int
	message string
}

func (e answerError) Error() string { return "node: " + e.message }

var (
	errNoToken401 = answerError{http.StatusUnauthorized, "Authentication required"}
	errBadToken   = answerError{http.StatusUnauthorized, "Invalid token"}
	errUnknown    = answerError{http.StatusNotFound, "Not found"}
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
		return 0, errNoToken401
	case len(tokens) > 1 || !linkShape.MatchString(tokens[0]):
		return 0, errBadToken
	}
	userID, _, err = f.find(r.Context(), tokens[0])
	if errors.Is(err, errLink) {
		err = errBadToken
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
		err = h(userID)
	}
	if answer, ok := errors.AsType[answerError](err); ok {
		return f.site.JSON(w, answer.status, map[string]string{"error": answer.message})
	}
	return err
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
		return f.site.JSON(w, http.StatusOK, struct {
			ID          int64   `json:"id"`
			DisplayName string  `json:"displayName"`
			AvatarURL   *string `json:"avatarUrl"`
			LastSyncAt  *string `json:"lastSyncAt"`
		}{id, account.Name, orNull(account.AvatarURL), timeOrNull(kept[foursquare].AsOf)})
	})
}

// connectionOf returns a user's connection to a provider, if it works.
func (f frontend) connectionOf(ctx context.Context, userID int64, provider string) (connection.Connection, bool, error) {
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
			if err != nil && !errors.Is(err, connection.ErrNotFound) {
				return err
			}
			return f.site.JSON(w, http.StatusOK, map[string]bool{"success": true})
		})
	}
}

// sync enqueues a fetch of the newest activities. The job's id is the time, in milliseconds.
func (f frontend) sync(w http.ResponseWriter, r *http.Request) error {
	return f.as(w, r, func(userID int64) error {
		c, connected, err := f.connectionOf(r.Context(), userID, strava)
		if err != nil {
			return err
		}
		if !connected {
			return answerError{http.StatusBadRequest, "Strava not connected"}
		}
		if err := f.site.AllowCall(r, userID, strava); err != nil {
			return err
		}
		asked := time.Now()
		if err := f.activity.EnqueueSyncNow(r.Context(), strava, c.Subject, activity.Fetch); err != nil {
			return err
		}
		return f.site.JSON(w, http.StatusOK, map[string]any{"jobId": asked.UnixMilli(), "status": "queued"})
	})
}

// syncStatus says how far a fetch is. It is done when entries are newer than the job, and has failed when it is over
// without that.
func (f frontend) syncStatus(w http.ResponseWriter, r *http.Request) error {
	return f.as(w, r, func(userID int64) error {
		job, err := strconv.ParseInt(chi.URLParam(r, "job"), 10, 64)
		if err != nil {
			return errUnknown
		}
		kept, err := f.activity.Of(r.Context(), userID)
		if err != nil {
			return err
		}
		latest, connected := kept[strava]
		if !connected {
			return errUnknown
		}
		answer := map[string]any{
			"jobId": job, "dataSource": strava, "totalExpected": nil, "totalImported": 0, "currentBatch": 0,
			"errorMessage": nil, "startedAt": stamp(time.UnixMilli(job)), "completedAt": nil, "status": "running",
		}
		switch {
		case latest.Fetching:
		case latest.AsOf.Before(time.UnixMilli(job).Add(-clockSpread)):
			answer["status"], answer["errorMessage"] = "failed", "Strava did not answer. Please try again later."
		default:
			answer["status"], answer["completedAt"] = "completed", stamp(latest.AsOf)
			answer["totalImported"], answer["totalExpected"] = len(latest.Entries), len(latest.Entries)
		}
		return f.site.JSON(w, http.StatusOK, answer)
	})
}

// clockSpread is how far the clocks of servers and the database may be apart.
const clockSpread = time.Minute

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
