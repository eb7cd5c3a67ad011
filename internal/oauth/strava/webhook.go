package strava

import (
	"crypto/subtle"
	"encoding/json"
	"io"
	"net/http"
	"net/url"

	"cairn/internal/oauth"
	"cairn/internal/text"
	"cairn/internal/webhook"
)

var (
	_ webhook.Receiver   = adapter{}
	_ webhook.Challenger = adapter{}
)

// Challenge implements webhook.Challenger: Strava makes sure that a subscription is wanted.
func (adapter) Challenge(query url.Values, p *oauth.Provider) (answer any, ok bool) {
	given, known := []byte(query.Get("hub.verify_token")), []byte(p.WebhookSecret)
	if query.Get("hub.mode") != "subscribe" || len(known) == 0 || subtle.ConstantTimeCompare(given, known) != 1 {
		return nil, false
	}
	return map[string]string{"hub.challenge": query.Get("hub.challenge")}, true
}

// Bulk implements webhook.Receiver.
func (adapter) Bulk() bool { return false }

// Receive implements webhook.Receiver. An event is about an athlete who removed our access, or about an activity that
// is new, changed or gone.
func (adapter) Receive(r *http.Request, _ *oauth.Provider, _ webhook.Push) (m webhook.Message, err error) {
	var event struct {
		ObjectType string  `json:"object_type"`
		OwnerID    text.ID `json:"owner_id"`
		Updates    struct {
			Authorized any `json:"authorized"` // "false", and perhaps false
		} `json:"updates"`
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || !text.Unambiguous(body) || json.Unmarshal(body, &event) != nil {
		return m, webhook.Unread(err)
	}
	if event.OwnerID == "" {
		return m, nil
	}
	owner := []string{string(event.OwnerID)}
	switch {
	case event.ObjectType == "activity":
		m.Fetch = owner
	case event.ObjectType == "athlete" && (event.Updates.Authorized == "false" || event.Updates.Authorized == false):
		m.Check = owner
	}
	return m, nil
}
