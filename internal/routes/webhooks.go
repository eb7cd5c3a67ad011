package routes

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"

	"cairn/internal/activity"
	"cairn/internal/oauth"
	"cairn/internal/webhook"
)

const (
	maxWebhook  = 10 << 20
	webhookPath = "/webhooks/"
)

// WebhookPath is where a provider's webhooks arrive, on our site.
func WebhookPath(provider, key string) string { return webhookPath + provider + "/" + key }

func (s *server) webhooks(r chi.Router) {
	r.Use(s.withWebhookKey, withAddress)
	for _, p := range s.Providers {
		receiver, ok := p.Adapter.(webhook.Receiver)
		if !ok {
			continue
		}
		limit := s.Limits.Webhook
		if receiver.Bulk() {
			limit = s.Limits.Bulk
		}
		at := r.With(deadline(limit))
		at.Post(WebhookPath(p.Key, "{key}"), s.webhook(p, receiver))
		if challenger, ok := p.Adapter.(webhook.Challenger); ok {
			at.Get(WebhookPath(p.Key, "{key}"), challenge(p, challenger))
		}
	}
}

// withWebhookKey answers 404 to an address without the right key.
func (s *server) withWebhookKey(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(chi.URLParam(r, "key")), []byte(s.WebhookKey)) != 1 {
			http.NotFound(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// withAddress refuses an ambiguous address. Bodies are read, and refused, by their receivers.
func withAddress(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if readAddress(r.URL) != nil {
			http.Error(w, "not understood", http.StatusBadRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// challenge answers a provider that verifies a subscription.
func challenge(p *oauth.Provider, c webhook.Challenger) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer, ok := c.Challenge(r.URL.Query(), p)
		if !ok {
			http.Error(w, "not subscribed", http.StatusForbidden)
			return
		}
		writeJSON(w, http.StatusOK, answer)
	}
}

// webhook enqueues what a message says, and answers at once. If the database is unavailable the answer
// is 503, after which providers try again.
func (s *server) webhook(p *oauth.Provider, receiver webhook.Receiver) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch err := s.receive(r, p, receiver); {
		case errors.Is(err, webhook.ErrWrongSecret):
			http.Error(w, "wrong secret", http.StatusForbidden)
		case errors.Is(unread(err, err), errTooLarge):
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		case errors.Is(err, webhook.ErrNotUnderstood), errors.Is(err, errForm), errors.Is(err, errMediaType):
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

func (s *server) receive(r *http.Request, p *oauth.Provider, receiver webhook.Receiver) error {
	if isForm(r) {
		if err := readForm(r); err != nil {
			return err
		}
	}
	message, err := receiver.Receive(r, p, func(ctx context.Context, sent []activity.Sent) ([]string, error) {
		return s.Activity.Push(ctx, p, sent)
	})
	if err == nil && len(message.Check) > 0 {
		err = s.Activity.EnqueueSync(r.Context(), p.Key, message.Check, activity.Check)
	}
	if err == nil && len(message.Fetch) > 0 {
		err = s.Activity.EnqueueSync(r.Context(), p.Key, message.Fetch, activity.Fetch)
	}
	return err
}

// isWebhook reports whether a request may be larger than a form.
func isWebhook(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, webhookPath) }
