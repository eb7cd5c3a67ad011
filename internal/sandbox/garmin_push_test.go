package sandbox_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/sandbox"
)

// heard checks what all of Garmin's posts have in common and returns the items of the only kind in it.
func (e *ears) heard(path, kind string) []map[string]any {
	e.t.Helper()
	p := e.next()
	var body map[string][]map[string]any
	p.decode(e.t, &body)
	if p.path != path || len(body) != 1 || len(body[kind]) != 1 {
		e.t.Fatalf("at %s: %s, want %s at %s", p.path, p.body, kind, path)
	}
	for name, want := range map[string]string{
		"Garmin-Client-Id": "garmin-id",
		"User-Agent":       "Garmin Health API",
		"Content-Type":     "application/json;charset=utf-8",
	} {
		if got := p.header.Get(name); got != want {
			e.t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	return body[kind]
}

func TestGarminPush(t *testing.T) {
	t.Parallel()
	e := newEars(t)
	r := hooked(t, e)
	r.connect(sandbox.Garmin, "max", "ACTIVITY_EXPORT")
	id, err := r.NewActivity(t.Context(), "max")
	if err != nil {
		t.Fatal(err)
	}
	got := e.heard("/garmin/activities", "activities")[0]
	if got["userId"] != "ffffffffffffffffffffffffffffffff" || got["summaryId"] != fmt.Sprint(id) ||
		got["deviceName"] != "Garmin Edge 1050" || got["startTimeOffsetInSeconds"] == nil ||
		got["activityType"] == "" || got["durationInSeconds"] == nil || got["callbackURL"] != nil {
		t.Errorf("pushed %v", got)
	}
	title := "Renamed"
	if err := r.ChangeActivity(t.Context(), "max", id, sandbox.ActivityChange{Title: &title}); err != nil {
		t.Fatal(err)
	}
	again := e.heard("/garmin/activities", "activities")[0]
	if again["summaryId"] != fmt.Sprint(id) || again["activityName"] != title {
		t.Errorf("after a change %v", again)
	}
}

func TestGarminPing(t *testing.T) {
	t.Parallel()
	e := newEars(t)
	r := hooked(t, e)
	r.set(sandbox.Garmin, sandbox.ActivitiesBy, sandbox.Ping)
	access := r.connect(sandbox.Garmin, "zofie", "ACTIVITY_EXPORT").text("access_token")
	id, err := r.NewActivity(t.Context(), "zofie")
	if err != nil {
		t.Fatal(err)
	}
	got := e.heard("/garmin/activities", "activities")[0]
	callback, _ := got["callbackURL"].(string)
	address := r.at(sandbox.Garmin).API + "/wellness-api/rest/activities?uploadStartTimeInSeconds="
	if len(got) != 2 || got["userId"] != "8c1f0e5b-6a9c-4d33-95b1-072e84c1f9a7" ||
		!strings.HasPrefix(callback, address) {
		t.Fatalf("pinged %v", got)
	}
	for range 2 { // good for a day, not for one time only
		var list []map[string]any
		a := r.do("GET", callback, nil)
		err := json.Unmarshal([]byte(a.body), &list)
		if err != nil || len(list) != 1 || list[0]["summaryId"] != fmt.Sprint(id) {
			t.Errorf("fetched %d %s, want %d only", a.status, a.body, id)
		}
	}
	for header, want := range map[string][2]int{
		sandbox.Ignored: {200, 200}, sandbox.Forbidden: {200, 400}, sandbox.Required: {400, 200}, // without and with
	} {
		r.set(sandbox.Garmin, sandbox.PullHeader, header)
		r.wantStatus(header+", without", r.do("GET", callback, nil), want[0])
		r.wantStatus(header+", with", r.get(callback, access), want[1])
	}
}

func TestGarminPingLeadsInside(t *testing.T) {
	t.Parallel()
	e := newEars(t)
	r := hooked(t, e, func(o *sandbox.Options) { o.Inside = "http://inside.test:8080/sandbox/" })
	r.connect(sandbox.Garmin, "ada", "ACTIVITY_EXPORT")
	got := r.pullURL()
	if !strings.HasPrefix(got, "http://inside.test:8080/sandbox/garmin/wellness-api/rest/activities?") {
		t.Errorf("pull URL %s", got)
	}
}

func TestGarminDeregistrations(t *testing.T) {
	t.Parallel()
	e := newEars(t)
	r := hooked(t, e)
	for name, end := range map[string]func(access string){
		"by the person": func(string) {
			if err := r.RevokeGrant(t.Context(), r.grant(sandbox.Garmin).ID); err != nil {
				t.Fatal(err)
			}
		},
		"by the app": func(access string) {
			a := r.do("DELETE", r.at(sandbox.Garmin).Revoke, nil, "Authorization", "Bearer "+access)
			r.wantStatus("DELETE registration", a, http.StatusNoContent)
		},
	} {
		end(r.connect(sandbox.Garmin, "ada").text("access_token"))
		got := e.heard("/garmin/deregistrations", "deregistrations")[0]
		if len(got) != 1 || got["userId"] != "d3315b1072e84c1f9a7c1f0e5b6a9c01" {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestGarminPermissionChanges(t *testing.T) {
	t.Parallel()
	e := newEars(t)
	r := hooked(t, e)
	access := r.connect(sandbox.Garmin, "ada", "ACTIVITY_EXPORT", "HEALTH_EXPORT").text("access_token")
	if err := r.SetPermissions(t.Context(), r.grant(sandbox.Garmin).ID, "HEALTH_EXPORT"); err != nil {
		t.Fatal(err)
	}
	got := e.heard("/garmin/permissions", "userPermissionsChange")[0]
	if got["userId"] != "d3315b1072e84c1f9a7c1f0e5b6a9c01" ||
		fmt.Sprint(got["permissions"]) != "[HEALTH_EXPORT]" ||
		got["summaryId"] == "" || got["changeTimeInSeconds"] == nil {
		t.Errorf("Garmin sent %v", got)
	}
	a := r.get(r.at(sandbox.Garmin).API+"/wellness-api/rest/user/permissions", access)
	if a.body != `{"permissions":["HEALTH_EXPORT"]}` {
		t.Errorf("asked: %s", a.body)
	}
	_, err := r.NewActivity(t.Context(), "ada")
	if err != nil || r.settled(sandbox.Garmin, 8).What != "userPermissionsChange" {
		t.Errorf("an event about an activity without permission was sent, or %v", err)
	}
	if err := r.SetPermissions(t.Context(), r.grant(sandbox.Garmin).ID); err != nil {
		t.Fatal(err)
	}
	if got := e.heard("/garmin/permissions", "userPermissionsChange")[0]; fmt.Sprint(got["permissions"]) != "[]" {
		t.Errorf("none left: %v", got)
	}
	if err := r.SetPermissions(t.Context(), 4711, "X"); err != sandbox.ErrNoGrant {
		t.Errorf("permissions of an unknown grant: %v", err)
	}
}

func TestGarminTriesUntilTaken(t *testing.T) {
	t.Parallel()
	e := newEars(t)
	r := hooked(t, e)
	e.status.Store(http.StatusAccepted) // success to most, but not 200
	r.connect(sandbox.Garmin, "ada")
	if err := r.RevokeGrant(t.Context(), r.grant(sandbox.Garmin).ID); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		e.heard("/garmin/deregistrations", "deregistrations")
	}
	e.status.Store(http.StatusOK)
	if d := r.settled(sandbox.Garmin, 8); !d.OK() || d.Tries < 5 {
		t.Errorf("recorded %+v", d)
	}
}

func TestGarminEventsCanBeSwitchedOff(t *testing.T) {
	t.Parallel()
	e := newEars(t)
	r := hooked(t, e)
	r.set(sandbox.Garmin, sandbox.Activities, sandbox.Off)
	r.connect(sandbox.Garmin, "ada", "ACTIVITY_EXPORT")
	if _, err := r.NewActivity(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	if err := r.RevokeGrant(t.Context(), r.grant(sandbox.Garmin).ID); err != nil {
		t.Fatal(err)
	}
	e.heard("/garmin/deregistrations", "deregistrations")
	deliveries, err := r.Deliveries(t.Context(), sandbox.Garmin)
	if err != nil || len(deliveries) != 1 {
		t.Errorf("sent %+v, %v: activities are switched off", deliveries, err)
	}
}

func TestGarminBackfill(t *testing.T) {
	t.Parallel()
	e := newEars(t)
	r := hooked(t, e)
	now := time.Now().Unix()
	at := func(from, to int64) string {
		query := url.Values{
			"summaryStartTimeInSeconds": {fmt.Sprint(from)},
			"summaryEndTimeInSeconds":   {fmt.Sprint(to)},
		}
		return r.at(sandbox.Garmin).API + "/wellness-api/rest/backfill/activities?" + query.Encode()
	}
	little := r.connect(sandbox.Garmin, "ada", "ACTIVITY_EXPORT").text("access_token")
	r.wantStatus("without the permission", r.get(at(now-86400, now), little), http.StatusPreconditionFailed)
	access := r.connect(sandbox.Garmin, "ada", "ACTIVITY_EXPORT", "HISTORICAL_DATA_EXPORT").text("access_token")
	r.wantStatus("31 days", r.get(at(now-31*86400, now), access), http.StatusBadRequest)
	r.wantStatus("no range", r.get(at(0, 0)+"x", access), http.StatusBadRequest)
	if a := r.get(at(now-30*86400, now), access); a.status != http.StatusAccepted || a.body != "" {
		t.Fatalf("backfill: %d %s", a.status, a.body)
	}
	r.wantStatus("again", r.get(at(now-30*86400, now), access), http.StatusConflict)
	deliveries, err := r.Deliveries(t.Context(), sandbox.Garmin)
	if err != nil || len(deliveries) < 8 {
		t.Fatalf("%d deliveries, %v", len(deliveries), err)
	}
	var ids []any
	for range deliveries {
		ids = append(ids, e.heard("/garmin/activities", "activities")[0]["summaryId"])
	}
	if slices.Contains(ids[1:], ids[0]) {
		t.Errorf("the same one twice: %v", ids)
	}
}
