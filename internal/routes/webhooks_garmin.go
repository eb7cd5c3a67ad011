package routes

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"

	"cairn/internal/jobs"
	"cairn/internal/latest"
	"cairn/internal/oauth"
)

// garminBatch is how many activities are stored at once.
const garminBatch = 500

// garminPost reads what Garmin has to tell: people who took permissions back, wholly or in part, and activities, which are
// stored before it is answered, because they come only once. One body may carry many people and much else, so it is read
// piece by piece.
func (s *server) garminPost(r *http.Request, p *oauth.Provider) ([]hint, error) {
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("garmin-client-id")), []byte(p.Config.ClientID)) != 1 {
		return nil, errOtherApp
	}
	body := json.NewDecoder(r.Body)
	if token, err := body.Token(); err != nil || token != json.Delim('{') {
		return nil, errNotUnderstood
	}
	check, fetch := hint{what: jobs.Check}, hint{what: jobs.Fetch}
	for body.More() {
		kind, err := body.Token()
		if err != nil {
			return nil, errNotUnderstood
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
		return nil, errNotUnderstood
	}
	return []hint{check, fetch}, nil
}

func skip(body *json.Decoder) error {
	var other json.RawMessage
	if body.Decode(&other) != nil {
		return errNotUnderstood
	}
	return nil
}

func garminUsers(body *json.Decoder) (subjects []string, err error) {
	var about []struct{ UserID string }
	if body.Decode(&about) != nil {
		return nil, errNotUnderstood
	}
	for _, a := range about {
		subjects = append(subjects, a.UserID)
	}
	return subjects, nil
}

// garminActivities stores activities, and returns the subjects for whom addresses came instead. One that can't be read is
// left out: the others come only once.
func (s *server) garminActivities(ctx context.Context, body *json.Decoder, p *oauth.Provider) (toFetch []string, err error) {
	if token, err := body.Token(); err != nil || token != json.Delim('[') {
		return nil, errNotUnderstood
	}
	for more := true; more; {
		batch := make([]latest.GarminNotice, 0, garminBatch)
		for more = body.More(); more && len(batch) < garminBatch; more = body.More() {
			var item latest.GarminNotice
			err := body.Decode(&item)
			if _, odd := errors.AsType[*json.UnmarshalTypeError](err); odd {
				continue
			}
			if err != nil {
				return nil, errNotUnderstood
			}
			batch = append(batch, item)
		}
		subjects, err := s.Latest.Push(ctx, p, batch)
		if err != nil {
			return nil, err
		}
		toFetch = append(toFetch, subjects...)
	}
	if _, err := body.Token(); err != nil {
		return nil, errNotUnderstood
	}
	return toFetch, nil
}
