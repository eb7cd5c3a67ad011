package garmin

import (
	"crypto/subtle"
	"encoding/json"
	"net/http"

	"cairn/internal/activity"
	"cairn/internal/oauth"
	"cairn/internal/text"
	"cairn/internal/webhook"
)

var (
	_ webhook.Receiver = adapter{}
	_ webhook.Manual   = adapter{}
)

// Purpose implements webhook.Manual.
func (adapter) Purpose() string {
	return "deregistrations, permission changes, activities and all else"
}

// batch is how many activities are stored at once.
const batch = 500

// Bulk implements webhook.Receiver: one message may be about many people.
func (adapter) Bulk() bool { return true }

// Receive implements webhook.Receiver. Garmin reports people who took permissions back, wholly or in part, and
// activities. Activities are stored before the answer is sent, because they come only once. A body may be about many
// people, and much of it not for us, so it is read piece by piece.
func (adapter) Receive(r *http.Request, p *oauth.Provider, push webhook.Push) (m webhook.Message, err error) {
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("garmin-client-id")), []byte(p.Config.ClientID)) != 1 {
		return m, webhook.ErrOtherApp
	}
	body := json.NewDecoder(r.Body)
	if token, err := body.Token(); err != nil || token != json.Delim('{') {
		return m, webhook.Unread(err)
	}
	for body.More() {
		kind, err := body.Token()
		if err != nil {
			return m, webhook.Unread(err)
		}
		var subjects []string
		switch kind {
		case "deregistrations", "userPermissionsChange":
			subjects, err = users(body)
			m.Check = append(m.Check, subjects...)
		case "activities", "manuallyUpdatedActivities":
			subjects, err = activities(body, p, func(sent []activity.Sent) ([]string, error) {
				return push(r.Context(), sent)
			})
			m.Fetch = append(m.Fetch, subjects...)
		default:
			err = skip(body)
		}
		if err != nil {
			return m, err
		}
	}
	if _, err := body.Token(); err != nil { // half a body
		return m, webhook.Unread(err)
	}
	return m, nil
}

func skip(body *json.Decoder) error {
	var other json.RawMessage
	if err := body.Decode(&other); err != nil {
		return webhook.Unread(err)
	}
	return nil
}

func users(body *json.Decoder) (subjects []string, err error) {
	err = eachOf(body, func(about struct{ UserID text.ID }) error {
		if about.UserID != "" {
			subjects = append(subjects, string(about.UserID))
		}
		return nil
	})
	return subjects, err
}

// item is one activity, or an address to fetch activities from (docs/providers.md, 3.6 and 3.7).
type item struct {
	UserID      text.ID
	CallbackURL string
	summary
}

func (i item) sent(p *oauth.Provider) activity.Sent {
	if p.Owns(i.CallbackURL) {
		return activity.Sent{Subject: string(i.UserID), Address: i.CallbackURL}
	}
	entry, valid := i.Entry()
	return activity.Sent{Subject: string(i.UserID), Entry: entry, Valid: valid}
}

// activities stores activities, and returns the subjects with something to fetch, for whom addresses came instead.
func activities(
	body *json.Decoder, p *oauth.Provider, store func([]activity.Sent) ([]string, error),
) (toFetch []string, err error) {
	var sent []activity.Sent
	push := func() error {
		subjects, err := store(sent)
		toFetch, sent = append(toFetch, subjects...), sent[:0]
		return err
	}
	err = eachOf(body, func(i item) error {
		if sent = append(sent, i.sent(p)); len(sent) == batch {
			return push()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return toFetch, push()
}

// eachOf reads an array element by element. It leaves out an element that can't be read as a T, or in more than one
// way: the others come only once.
func eachOf[T any](body *json.Decoder, do func(T) error) error {
	if token, err := body.Token(); err != nil || token != json.Delim('[') {
		return webhook.Unread(err)
	}
	for body.More() {
		var raw json.RawMessage
		if err := body.Decode(&raw); err != nil {
			return webhook.Unread(err)
		}
		var element T
		if !text.Unambiguous(raw) || json.Unmarshal(raw, &element) != nil {
			continue
		}
		if err := do(element); err != nil {
			return err
		}
	}
	if _, err := body.Token(); err != nil { // half an array
		return webhook.Unread(err)
	}
	return nil
}
