package routes

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"net/http"

	"cairn/internal/activity"
	"cairn/internal/jobs"
	"cairn/internal/oauth"
	"cairn/internal/text"
)

// garminBatch is how many activities are stored at once.
const garminBatch = 500

// garminPost reads Garmin's messages: people who took permissions back, wholly or in part, and
// activities. Activities are stored before the answer is sent, because they come only once. One
// body may be about many people and much else, so it is read piece by piece.
func (s *server) garminPost(r *http.Request, p *oauth.Provider) ([]hint, error) {
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("garmin-client-id")), []byte(p.Config.ClientID)) != 1 {
		return nil, errOtherApp
	}
	body := json.NewDecoder(r.Body)
	if token, err := body.Token(); err != nil || token != json.Delim('{') {
		return nil, unread(err, errNotUnderstood)
	}
	check, fetch := hint{what: jobs.Check}, hint{what: jobs.Fetch}
	for body.More() {
		kind, err := body.Token()
		if err != nil {
			return nil, unread(err, errNotUnderstood)
		}
		var subjects []string
		switch kind {
		case "deregistrations", "userPermissionsChange":
			subjects, err = garminUsers(body)
			check.subjects = append(check.subjects, subjects...)
		case "activities", "manuallyUpdatedActivities":
			subjects, err = s.garminActivities(r.Context(), body, p)
			fetch.subjects = append(fetch.subjects, subjects...)
		default:
			err = skip(body)
		}
		if err != nil {
			return nil, err
		}
	}
	if _, err := body.Token(); err != nil { // half a body
		return nil, unread(err, errNotUnderstood)
	}
	return []hint{check, fetch}, nil
}

func skip(body *json.Decoder) error {
	var other json.RawMessage
	if err := body.Decode(&other); err != nil {
		return unread(err, errNotUnderstood)
	}
	return nil
}

func garminUsers(body *json.Decoder) (subjects []string, err error) {
	err = eachOf(body, func(about struct{ UserID text.ID }) error {
		if about.UserID != "" {
			subjects = append(subjects, string(about.UserID))
		}
		return nil
	})
	return subjects, err
}

// garminActivities stores activities, and returns the subjects for whom addresses came instead.
func (s *server) garminActivities(
	ctx context.Context, body *json.Decoder, p *oauth.Provider,
) (toFetch []string, err error) {
	var batch []activity.GarminNotice
	push := func() error {
		subjects, err := s.Activity.Push(ctx, p, batch)
		toFetch, batch = append(toFetch, subjects...), batch[:0]
		return err
	}
	err = eachOf(body, func(item activity.GarminNotice) error {
		if batch = append(batch, item); len(batch) == garminBatch {
			return push()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return toFetch, push()
}

// eachOf reads an array element by element. What can't be read as a T, in one way only, is left
// out: the others come only once.
func eachOf[T any](body *json.Decoder, do func(T) error) error {
	if token, err := body.Token(); err != nil || token != json.Delim('[') {
		return unread(err, errNotUnderstood)
	}
	for body.More() {
		var raw json.RawMessage
		if err := body.Decode(&raw); err != nil {
			return unread(err, errNotUnderstood)
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
		return unread(err, errNotUnderstood)
	}
	return nil
}
