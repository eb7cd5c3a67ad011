package sandbox_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"cairn/internal/sandbox"
)

func TestFoursquarePush(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{"", "p€sh & secret"} {
		e := newEars(t)
		r := hooked(t, e, func(o *sandbox.Options) {
			app := o.Apps[sandbox.Foursquare]
			app.PushSecret = secret
			o.Apps[sandbox.Foursquare] = app
		})
		token := r.connect(sandbox.Foursquare, "zofie").text("access_token")
		id, err := r.NewCheckin(t.Context(), "zofie")
		if err != nil {
			t.Fatal(err)
		}
		p := e.next()
		form, err := url.ParseQuery(p.body)
		if err != nil || p.path != "/foursquare" ||
			p.header.Get("Content-Type") != "application/x-www-form-urlencoded" {
			t.Fatalf("posted %s to %s, %v", p.body, p.path, err)
		}
		var checkin struct {
			ID             string
			CreatedAt      int64
			TimeZoneOffset *int
			User           struct{ ID string }
		}
		var user struct{ ID, FirstName string }
		if json.Unmarshal([]byte(form.Get("checkin")), &checkin) != nil ||
			checkin.ID != id || checkin.User.ID != "20260000123" ||
			checkin.CreatedAt == 0 || checkin.TimeZoneOffset == nil {
			t.Errorf("checkin %s, want %s", form.Get("checkin"), id)
		}
		if json.Unmarshal([]byte(form.Get("user")), &user) != nil ||
			user.ID != "20260000123" || user.FirstName != "Žofie" {
			t.Errorf("user %s", form.Get("user"))
		}
		if form.Get("secret") != secret || form.Has("secret") != (secret != "") {
			t.Errorf("secret %q, want %q", form["secret"], secret)
		}
		if _, all := r.checkins(token, ""); all[0].ID != id {
			t.Errorf("newest check-in %v, want %s", all[0], id)
		}
	}
}

func TestFoursquarePushIsTriedOnce(t *testing.T) {
	t.Parallel()
	e := newEars(t)
	r := hooked(t, e)
	e.status.Store(http.StatusInternalServerError)
	r.connect(sandbox.Foursquare, "ada")
	if _, err := r.NewCheckin(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	if d := r.settled(sandbox.Foursquare, 1); d.Result != "500" || len(e.posts) != 1 {
		t.Errorf("recorded %+v, %d posts", d, len(e.posts))
	}
	if err := r.RevokeGrant(t.Context(), r.grant(sandbox.Foursquare).ID); err != nil {
		t.Fatal(err)
	}
	if deliveries, err := r.Deliveries(t.Context(), sandbox.Foursquare); err != nil || len(deliveries) != 1 {
		t.Errorf("after the revocation: deliveries %v, error %v; want none more", deliveries, err)
	}
	if _, err := r.NewCheckin(t.Context(), "unknown"); err != sandbox.ErrNoEntry {
		t.Errorf("a check-in of an unknown person: %v", err)
	}
}
