package sandbox_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"cairn/internal/sandbox"
)

type event struct {
	ObjectType     string `json:"object_type"`
	ObjectID       int64  `json:"object_id"`
	AspectType     string `json:"aspect_type"`
	Updates        map[string]string
	OwnerID        int64 `json:"owner_id"`
	SubscriptionID int64 `json:"subscription_id"`
	EventTime      int64 `json:"event_time"`
}

func TestStravaEvents(t *testing.T) {
	t.Parallel()
	e := newEars(t)
	r := hooked(t, e)
	id := r.subscribe(e.URL + "/hook").text("id")
	access := r.connect(sandbox.Strava, "ada", "activity:read_all").text("access_token")
	made, err := r.NewActivity(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	want := func(kind, aspect string, object int64, updates string) {
		t.Helper()
		p := e.next()
		var got event
		p.decode(t, &got)
		changed, _ := json.Marshal(got.Updates)
		if p.path != "/hook" || p.header.Get("Content-Type") != "application/json" ||
			got.ObjectType != kind || got.AspectType != aspect || got.ObjectID != object ||
			got.OwnerID != 5000000101 || fmt.Sprint(got.SubscriptionID) != id || string(changed) != updates ||
			time.Since(time.Unix(got.EventTime, 0)).Abs() > time.Minute ||
			strings.Count(p.body, ":") != 7+len(got.Updates) {
			t.Errorf("posted %s, want %s %s %d %s", p.body, kind, aspect, object, updates)
		}
	}
	want("activity", "create", made, `{}`)
	if list := r.activities(access, ""); list[0].ID != made || time.Since(list[0].StartDate) > 3*time.Hour {
		t.Errorf("newest %+v, want %d", list[0], made)
	}
	change := func(c sandbox.ActivityChange) {
		t.Helper()
		if err := r.ChangeActivity(t.Context(), "ada", made, c); err != nil {
			t.Fatal(err)
		}
	}
	private := r.activities(access, "")[0].Private
	for range 2 {
		private = !private
		change(sandbox.ActivityChange{Private: &private})
		want("activity", "update", made, fmt.Sprintf(`{"private":"%t"}`, private))
	}
	title := "Nová"
	change(sandbox.ActivityChange{Title: &title})
	want("activity", "update", made, `{"title":"Nová"}`)
	if err := r.DeleteActivity(t.Context(), "ada", made); err != nil {
		t.Fatal(err)
	}
	want("activity", "delete", made, `{}`)
	if list := r.activities(access, ""); list[0].ID == made {
		t.Error("still there after deletion")
	}
	if err := r.DeleteActivity(t.Context(), "ada", made); err != sandbox.ErrNoEntry {
		t.Errorf("deleted twice: %v", err)
	}
	if err := r.RevokeGrant(t.Context(), r.grant(sandbox.Strava).ID); err != nil {
		t.Fatal(err)
	}
	want("athlete", "update", 5000000101, `{"authorized":"false"}`)
	if _, err := r.NewActivity(t.Context(), "ada"); err != nil ||
		r.settled(sandbox.Strava, 3).What != "athlete update" {
		t.Errorf("an event about an activity after deauthorization was sent, or %v", err)
	}
}

func TestStravaSendsOnlyWhatTheScopesCover(t *testing.T) {
	t.Parallel()
	e := newEars(t)
	r := hooked(t, e)
	r.subscribe(e.URL)
	a := r.do("POST", r.authorizeURL(sandbox.Strava, "scope=read,activity:read"), url.Values{
		"person":   {"ada"},
		"decision": {"allow"},
		"scope":    {"activity:read"},
	})
	r.wantStatus("consent to public activities", a, http.StatusSeeOther)
	yes, no := true, false
	var made int64
	for range 40 { // one in six is private from the start
		id, err := r.NewActivity(t.Context(), "ada")
		if err != nil {
			t.Fatal(err)
		}
		if deliveries, _ := r.Deliveries(t.Context(), sandbox.Strava); len(deliveries) > 0 {
			e.next()
			made = id
			break
		}
	}
	for _, step := range []struct {
		private *bool
		want    string
	}{{&yes, "delete"}, {&no, "create"}} {
		change := sandbox.ActivityChange{Private: step.private}
		if err := r.ChangeActivity(t.Context(), "ada", made, change); err != nil {
			t.Fatal(err)
		}
		var got event
		if e.next().decode(t, &got); got.AspectType != step.want || got.ObjectID != made || len(got.Updates) != 0 {
			t.Errorf("private %t: %+v, want %s", *step.private, got, step.want)
		}
	}
	a = r.do("POST", r.authorizeURL(sandbox.Strava, "scope=read"), url.Values{"person": {"ada"}, "decision": {"allow"}})
	r.wantStatus("consent to the profile only", a, http.StatusSeeOther)
	before := r.settled(sandbox.Strava, 3).ID
	if _, err := r.NewActivity(t.Context(), "ada"); err != nil || r.settled(sandbox.Strava, 3).ID != before {
		t.Errorf("an event without a scope was sent, or %v", err)
	}
}

func TestStravaTriesThreeTimes(t *testing.T) {
	t.Parallel()
	e := newEars(t)
	r := hooked(t, e)
	r.subscribe(e.URL)
	r.connect(sandbox.Strava, "ada", "activity:read_all")
	e.status.Store(http.StatusFound) // not 200
	if _, err := r.NewActivity(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	first, second, third := e.next(), e.next(), e.next()
	if first.body != second.body || second.body != third.body {
		t.Errorf("three tries of different things:\n%s\n%s\n%s", first.body, second.body, third.body)
	}
	if d := r.settled(sandbox.Strava, 3); d.OK() || d.Result != "302" || d.Tries != 3 || d.What != "activity create" {
		t.Errorf("recorded %+v", d)
	}
	e.status.Store(http.StatusOK)
	e.fails.Store(2)
	if _, err := r.NewActivity(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	if d := r.settled(sandbox.Strava, 3); !d.OK() || d.Tries != 3 {
		t.Errorf("recorded %+v, want success at the third try", d)
	}
}

func TestStravaTellsOfRevocationByTheApp(t *testing.T) {
	t.Parallel()
	e := newEars(t)
	r := hooked(t, e)
	r.subscribe(e.URL)
	revoke := map[string]func(access string) answer{
		"revoke": func(access string) answer {
			return r.do("POST", r.at(sandbox.Strava).Revoke, url.Values{"token": {access}},
				"Authorization", basicAuth("strava-id", "strava-secret"))
		},
		"deauthorize": func(access string) answer {
			deauthorize := strings.Replace(r.at(sandbox.Strava).Revoke, "revoke", "deauthorize", 1)
			return r.do("POST", deauthorize, nil, "Authorization", "Bearer "+access)
		},
	}
	for name, do := range revoke {
		r.wantStatus(name, do(r.connect(sandbox.Strava, "moss").text("access_token")), http.StatusOK)
		p := e.next()
		if !strings.Contains(p.body, `"object_id":9007199254740993`) ||
			!strings.Contains(p.body, `{"authorized":"false"}`) {
			t.Errorf("%s: %s", name, p.body)
		}
	}
}

func TestStravaSignature(t *testing.T) {
	t.Parallel()
	e := newEars(t)
	r := hooked(t, e)
	r.subscribe(e.URL)
	for _, sign := range []string{sandbox.Off, sandbox.On} {
		r.set(sandbox.Strava, sandbox.SignEvents, sign)
		r.connect(sandbox.Strava, "ada")
		if err := r.RevokeGrant(t.Context(), r.grant(sandbox.Strava).ID); err != nil {
			t.Fatal(err)
		}
		p := e.next()
		got := p.header.Get("X-Strava-Signature")
		if sign == sandbox.Off {
			if got != "" {
				t.Errorf("signed %s", got)
			}
			continue
		}
		at, sum, _ := strings.Cut(strings.TrimPrefix(got, "t="), ",v1=")
		mac := hmac.New(sha256.New, []byte("strava-secret"))
		mac.Write([]byte(at + "." + p.body))
		if sum != hex.EncodeToString(mac.Sum(nil)) {
			t.Errorf("signature %s of %s", got, p.body)
		}
	}
}
