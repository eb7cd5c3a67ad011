package routes

import (
	"cmp"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"

	"cairn/internal/jobs"
	"cairn/internal/oauth"
	"cairn/internal/text"
)

// Webhooks are the addresses at which providers tell us what happened to a connection. The
// addresses hold a key that only the provider was given, but a message proves nothing: it only
// makes us ask the provider. Garmin's pushes are the exception, because Garmin can't be asked: they
// are shown to their owner as they came.
type Webhooks struct {
	Key         string // in the addresses; at least 128 bits, URL-safe
	VerifyToken string // that Strava sends when it is subscribed to
	PushSecret  string // that Foursquare may send with its pushes; "" if none is known
}

const (
	maxWebhook  = 10 << 20
	webhookPath = "/webhooks/"
)

// hint is what a provider says that we should look at.
type hint struct {
	what     jobs.Sync
	subjects []string
}

var (
	errNotUnderstood = errors.New("routes: a webhook that makes no sense")
	errOtherApp      = fmt.Errorf("%w: it is for another application", errNotUnderstood)
	errWrongSecret   = errors.New("routes: a webhook with another secret")
)

// WebhookPath is where a provider's webhooks arrive, on our site.
func WebhookPath(provider, key string) string { return webhookPath + provider + "/" + key }

func (s *server) webhooks(r chi.Router) {
	r.Use(s.withWebhookKey, withAddress)
	soon, bulk := r.With(deadline(s.Limits.Webhook)), r.With(deadline(s.Limits.Bulk))
	soon.Get(WebhookPath("strava", "{key}"), s.stravaChallenge)
	soon.Post(WebhookPath("strava", "{key}"), s.webhook("strava", stravaEvent))
	soon.Post(WebhookPath("foursquare", "{key}"), s.webhook("foursquare", s.foursquarePush))
	bulk.Post(WebhookPath("garmin", "{key}"), s.webhook("garmin", s.garminPost))
}

// withWebhookKey makes an address without the right key one that does not exist.
func (s *server) withWebhookKey(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(chi.URLParam(r, "key")), []byte(s.Webhooks.Key)) != 1 {
			http.NotFound(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// withAddress refuses an address that can't be read in one way only. Bodies are read, and refused,
// by those who know them.
func withAddress(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if readAddress(r.URL) != nil {
			http.Error(w, "not understood", http.StatusBadRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// stravaChallenge is how Strava makes sure that a subscription is wanted.
func (s *server) stravaChallenge(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	given, known := []byte(q.Get("hub.verify_token")), []byte(s.Webhooks.VerifyToken)
	if q.Get("hub.mode") != "subscribe" || subtle.ConstantTimeCompare(given, known) != 1 {
		http.Error(w, "not subscribed", http.StatusForbidden)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"hub.challenge": q.Get("hub.challenge")})
}

// webhook answers at once: what is said is enqueued. A database that is away is answered 503, after
// which providers try again.
func (s *server) webhook(provider string, read func(*http.Request, *oauth.Provider) ([]hint, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, err := s.provider(provider)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		hints, err := read(r, p)
		for _, h := range hints {
			if err == nil && len(h.subjects) > 0 {
				err = s.Jobs.EnqueueSync(r.Context(), provider, h.subjects, h.what)
			}
		}
		switch {
		case errors.Is(err, errWrongSecret):
			http.Error(w, "wrong secret", http.StatusForbidden)
		case errors.Is(err, errTooLarge):
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		case errors.Is(err, errNotUnderstood), errors.Is(err, errForm), errors.Is(err, errMediaType):
			http.Error(w, "not understood", http.StatusBadRequest)
		case err != nil:
			s.logFailure(r, http.StatusServiceUnavailable, err)
			retryAfter(w, busyFor)
			http.Error(w, "later", http.StatusServiceUnavailable)
		default:
			w.WriteHeader(http.StatusOK)
		}
	}
}

// stravaEvent is about an athlete who took the permission back, or about an activity that is new, changed or gone.
func stravaEvent(r *http.Request, _ *oauth.Provider) ([]hint, error) {
	var event struct {
		ObjectType string  `json:"object_type"`
		OwnerID    text.ID `json:"owner_id"`
		Updates    struct {
			Authorized any `json:"authorized"` // "false", and perhaps false
		} `json:"updates"`
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, unread(err, errNotUnderstood)
	}
	if !text.Unambiguous(body) || json.Unmarshal(body, &event) != nil {
		return nil, errNotUnderstood
	}
	if event.OwnerID == "" {
		return nil, nil
	}
	owner := []string{string(event.OwnerID)}
	switch {
	case event.ObjectType == "activity":
		return []hint{{jobs.Fetch, owner}}, nil
	case event.ObjectType == "athlete" && (event.Updates.Authorized == "false" || event.Updates.Authorized == false):
		return []hint{{jobs.Check, owner}}, nil
	}
	return nil, nil
}

// foursquarePush is about a check-in. The secret is not always there (docs/providers.md, 4.7).
func (s *server) foursquarePush(r *http.Request, _ *oauth.Provider) ([]hint, error) {
	if err := readForm(r); err != nil {
		return nil, err
	}
	known := s.Webhooks.PushSecret
	if known != "" && r.PostForm.Has("secret") &&
		subtle.ConstantTimeCompare([]byte(r.PostForm.Get("secret")), []byte(known)) != 1 {
		return nil, errWrongSecret
	}
	var checkin struct{ User struct{ ID text.ID } }
	var user struct{ ID text.ID }
	posted := []byte(r.PostForm.Get("checkin"))
	if !text.Unambiguous(posted) || json.Unmarshal(posted, &checkin) != nil {
		return nil, errNotUnderstood
	}
	_ = json.Unmarshal([]byte(r.PostForm.Get("user")), &user) // of older pushes
	if id := cmp.Or(checkin.User.ID, user.ID); id != "" {
		return []hint{{jobs.Fetch, []string{string(id)}}}, nil
	}
	return nil, nil
}

// isWebhook tells the requests that may be larger than a form.
func isWebhook(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, webhookPath) }
