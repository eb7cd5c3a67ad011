package routes

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"cairn/internal/oauth"
)

// Webhooks are where providers tell what happened to a connection. They prove nothing: the addresses hold a key that only
// the provider was given, and what is said only makes us ask the provider.
type Webhooks struct {
	Key         string // in the addresses; at least 128 bits, URL-safe
	VerifyToken string // that Strava sends when it is subscribed to
	// Revisit has connections looked at soon.
	Revisit func(ctx context.Context, provider string, subjects []string) error
}

const (
	webhookDeadline = 1500 * time.Millisecond // Strava waits 2 s (providers.md, 2.9)
	maxWebhook      = 10 << 20                // of what Garmin sends at once (providers.md, 3.7)
	webhookPath     = "/webhooks/"
)

// WebhookPath is where a provider's webhooks arrive, on our site.
func WebhookPath(provider, key string) string { return webhookPath + provider + "/" + key }

func (s *server) webhooks(r chi.Router) {
	r.Use(s.withWebhookKey, deadline(webhookDeadline))
	r.Get(WebhookPath("strava", "{key}"), s.stravaChallenge)
	r.Post(WebhookPath("strava", "{key}"), s.webhook("strava", stravaEvent))
	r.Post(WebhookPath("garmin", "{key}"), s.webhook("garmin", garminEvents))
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

// stravaChallenge is how Strava makes sure that a subscription is wanted.
func (s *server) stravaChallenge(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("hub.mode") != "subscribe" || subtle.ConstantTimeCompare([]byte(q.Get("hub.verify_token")), []byte(s.Webhooks.VerifyToken)) != 1 {
		http.Error(w, "not subscribed", http.StatusForbidden)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"hub.challenge": q.Get("hub.challenge")})
}

// webhook answers at once: what is said is put aside. A database that is away is answered 503, after which providers try
// again.
func (s *server) webhook(provider string, subjects func(*http.Request, *oauth.Provider) ([]string, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, err := s.provider(provider)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		said, err := subjects(r, p)
		if err != nil {
			http.Error(w, "not understood", http.StatusBadRequest)
			return
		}
		if len(said) > 0 {
			err = s.Webhooks.Revisit(r.Context(), provider, said)
		}
		if err != nil {
			s.Log.ErrorContext(r.Context(), "webhook was not kept", "id", requestID(r.Context()), "provider", provider, "error", err)
			retryAfter(w, busyFor)
			http.Error(w, "later", http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusOK)
	}
}

// stravaEvent returns the athlete who took the permission back, if that is the event.
func stravaEvent(r *http.Request, _ *oauth.Provider) ([]string, error) {
	var event struct {
		ObjectType string      `json:"object_type"`
		OwnerID    json.Number `json:"owner_id"`
		Updates    struct {
			Authorized any `json:"authorized"` // "false", and perhaps false
		} `json:"updates"`
	}
	if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
		return nil, err
	}
	if event.ObjectType != "athlete" || event.Updates.Authorized != "false" && event.Updates.Authorized != false {
		return nil, nil
	}
	return []string{event.OwnerID.String()}, nil
}

var errOtherApp = errors.New("routes: a webhook for another application")

// garminEvents returns the people who took permissions back, wholly or in part. One body may carry many, and much that is
// not about that, so it is read piece by piece.
func garminEvents(r *http.Request, p *oauth.Provider) (subjects []string, err error) {
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("garmin-client-id")), []byte(p.Config.ClientID)) != 1 {
		return nil, errOtherApp
	}
	body := json.NewDecoder(r.Body)
	if token, err := body.Token(); err != nil || token != json.Delim('{') {
		return nil, errors.Join(err, io.ErrUnexpectedEOF)
	}
	for body.More() {
		kind, err := body.Token()
		if err != nil {
			return nil, err
		}
		if kind != "deregistrations" && kind != "userPermissionsChange" {
			var other json.RawMessage
			if err := body.Decode(&other); err != nil {
				return nil, err
			}
			continue
		}
		var about []struct {
			UserID string `json:"userId"`
		}
		if err := body.Decode(&about); err != nil {
			return nil, err
		}
		for _, a := range about {
			subjects = append(subjects, a.UserID)
		}
	}
	return subjects, nil
}

// isWebhook tells the requests that may be larger than a form.
func isWebhook(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, webhookPath) }
