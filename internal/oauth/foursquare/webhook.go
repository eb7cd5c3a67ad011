package foursquare

import (
	"cmp"
	"crypto/subtle"
	"encoding/json"
	"net/http"

	"cairn/internal/oauth"
	"cairn/internal/text"
	"cairn/internal/webhook"
)

var (
	_ webhook.Receiver = adapter{}
	_ webhook.Manual   = adapter{}
)

// Purpose implements webhook.Manual.
func (adapter) Purpose() string { return "user push" }

// Bulk implements webhook.Receiver.
func (adapter) Bulk() bool { return false }

// Receive implements webhook.Receiver. A push is about a check-in. It does not always have a secret (docs/providers.md,
// 4.7).
func (adapter) Receive(r *http.Request, p *oauth.Provider, _ webhook.Push) (m webhook.Message, err error) {
	given, known := r.PostForm.Get("secret"), p.WebhookSecret
	if known != "" && r.PostForm.Has("secret") && subtle.ConstantTimeCompare([]byte(given), []byte(known)) != 1 {
		return m, webhook.ErrWrongSecret
	}
	var checkin struct{ User struct{ ID text.ID } }
	var user struct{ ID text.ID }
	posted := []byte(r.PostForm.Get("checkin"))
	if !text.Unambiguous(posted) || json.Unmarshal(posted, &checkin) != nil {
		return m, webhook.ErrNotUnderstood
	}
	_ = json.Unmarshal([]byte(r.PostForm.Get("user")), &user) // of older pushes
	if id := cmp.Or(checkin.User.ID, user.ID); id != "" {
		m.Fetch = []string{string(id)}
	}
	return m, nil
}
