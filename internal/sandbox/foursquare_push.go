package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

// pushCheckin sends a check-in as a form: the check-in and its user as JSON, and the app's push secret if it has one.
// It is tried once.
func (s foursquare) pushCheckin(ctx context.Context, v checkin) error {
	app, simulated := s.apps[Foursquare]
	g, found, err := s.grantOf(ctx, Foursquare, v.person.key)
	if err != nil || !found || !simulated {
		return err
	}
	sent, err := s.isOn(ctx, Foursquare, Pushes)
	if err != nil || !sent {
		return err
	}
	user := object{"id": v.person.foursquare, "firstName": v.person.first, "type": "user", "relationship": "self"}
	checkin := v.foursquareJSON()
	checkin["user"] = user
	form := url.Values{}
	for field, value := range map[string]object{"checkin": checkin, "user": swarmUser(g, s.base)} {
		text, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("sandbox: encode %s: %w", field, err)
		}
		form.Set(field, string(text))
	}
	if app.PushSecret != "" {
		form.Set("secret", app.PushSecret)
	}
	return s.send(ctx, webhook{
		provider: Foursquare,
		what:     "checkin",
		url:      s.hooked.Foursquare,
		header:   http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
		body:     []byte(form.Encode()),
		timeout:  s.limits.Foursquare,
		tries:    1,
		growth:   1,
	})
}
