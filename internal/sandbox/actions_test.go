package sandbox_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"cairn/internal/sandbox"
)

func TestControlPageMovesPeople(t *testing.T) {
	t.Parallel()
	e := newEars(t)
	r := hooked(t, e)
	r.subscribe(e.URL + "/strava")
	r.connect(sandbox.Strava, "ada", "activity:read_all")
	r.connect(sandbox.Garmin, "ada", "ACTIVITY_EXPORT")
	r.connect(sandbox.Foursquare, "ada")
	page := r.page(r.base + "/")
	for _, c := range []struct {
		button string
		want   []string // paths in any order, each with something from the body
	}{
		{
			"#strava button[value=activity]",
			[]string{`/strava "aspect_type":"create"`, `/garmin/activities "summaryId"`},
		},
		{"#strava button[value=rename]", []string{`/strava "updates":{"title":"`, `/garmin/activities ✎`}},
		{"#strava button[value=hide]", []string{`/strava "private":`, `/garmin/activities "activities"`}},
		{"#strava button[value=delete]", []string{`/strava "aspect_type":"delete"`}},
		{"#garmin button[value=permit]", []string{`/garmin/permissions "permissions":[]`}},
		{"#garmin button[value=permit]", []string{`/garmin/permissions "permissions":["ACTIVITY_EXPORT"]`}},
		{"#foursquare button[value=checkin]", []string{`/foursquare checkin=`}},
		{"#garmin button.bad", []string{`/garmin/deregistrations "userId"`}},
	} {
		page = r.press(page, c.button)
		var got []string
		for range c.want {
			p := e.next()
			got = append(got, p.path+" "+p.body)
		}
		for _, want := range c.want {
			path, part, _ := strings.Cut(want, " ")
			found := false
			for _, g := range got {
				found = found || strings.HasPrefix(g, path+" ") && strings.Contains(g, part)
			}
			if !found {
				t.Errorf("%s posted %v, want %s", c.button, got, want)
			}
		}
	}
	r.settled(sandbox.Strava, 3)
	page = r.page(r.base + "/")
	newest := page.Find("#strava .deliveries li").First().Text()
	if !strings.Contains(newest, "activity delete") || !strings.Contains(newest, "taken") {
		t.Errorf("the newest delivery reads %q", newest)
	}
	to := page.Find("#strava .none").Text()
	if !strings.Contains(to, "sends events to "+e.URL) || strings.Contains(to, "/strava") {
		t.Errorf("the subscription reads %q", to)
	}
}

func TestControlPageKeepsTexts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	page := r.page(r.base + "/")
	if page.Find("details[open]").Length() != 0 || page.Find(".changed").Length() != 0 {
		t.Error("something is changed from the start")
	}
	page.Find("#strava input[name=quota]").SetAttr("value", "1,2")
	page.Find("#strava select[name=data] option").RemoveAttr("selected")
	page.Find("#strava select[name=data] option[value='502 html']").SetAttr("selected", "")
	page = r.press(page, "#strava .switches > button")
	got := page.Find("#strava .changed").Length()
	if got != 2 || page.Find("#strava details[open]").Length() != 1 || page.Find("#strava .flag").Length() != 1 {
		t.Errorf("%d changed, want the quota and a call", got)
	}
	r.userInfo(sandbox.Strava, "x")
	r.wantStatus("over the quota", r.userInfo(sandbox.Strava, "x"), http.StatusTooManyRequests)
	r.press(page, "#strava form[action$=usage] button")
	r.wantStatus("forgotten", r.userInfo(sandbox.Strava, "x"), http.StatusUnauthorized)
}

func TestActsRefuse(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.connect(sandbox.Strava, "moss", "activity:read_all")
	action := r.page(r.base+"/").Find("form[action$='/act']").AttrOr("action", "")
	grant := r.base + "/control/grants/" + action[len("/sandbox/control/grants/"):]
	for act, want := range map[string]int{
		"delete":   http.StatusBadRequest,
		"rename":   http.StatusBadRequest,
		"hide":     http.StatusBadRequest,
		"checkin":  http.StatusNotFound,
		"":         http.StatusNotFound,
		"activity": http.StatusSeeOther,
	} {
		if act != "activity" {
			r.wantStatus("act "+act, r.do("POST", grant, url.Values{"act": {act}}), want)
		}
	}
	r.wantStatus("act activity", r.do("POST", grant, url.Values{"act": {"activity"}}), http.StatusSeeOther)
	for _, id := range []string{"4711", "x"} {
		a := r.do("POST", r.base+"/control/grants/"+id+"/act", url.Values{"act": {"activity"}})
		r.wantStatus("act of an unknown grant", a, http.StatusNotFound)
	}
}
