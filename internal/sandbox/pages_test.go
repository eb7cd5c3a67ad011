package sandbox_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"cairn/internal/sandbox"

	"github.com/PuerkitoBio/goquery"
)

func (r rig) page(to string) *goquery.Document {
	r.t.Helper()
	a := r.do("GET", to, nil)
	document, err := goquery.NewDocumentFromReader(strings.NewReader(a.body))
	if err != nil {
		r.t.Fatal(err)
	}
	return document
}

func TestEveryPageSaysSandbox(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for to, want := range map[string]string{
		r.authorizeURL(sandbox.Strava):                  "Sandbox – this is not Strava.",
		r.authorizeURL(sandbox.Garmin):                  "Sandbox – this is not Garmin Connect.",
		r.authorizeURL(sandbox.Garmin, "client_id"):     "Sandbox – this is not Garmin Connect.",
		r.authorizeURL(sandbox.Foursquare):              "Sandbox – this is not Foursquare.",
		r.authorizeURL(sandbox.Foursquare, "client_id"): "Sandbox – this is not Foursquare.",
		r.base + "/":        "Sandbox – this is not the real thing.",
		r.base + "/nowhere": "Sandbox – this is not the real thing.",
	} {
		page := r.page(to)
		if got := page.Find("header strong").Text(); got != want {
			t.Errorf("%s: %q, want %q", to, got, want)
		}
		title := page.Find("title").Text()
		headings, mains := page.Find("h1").Length(), page.Find("main").Length()
		if !strings.Contains(title, "Sandbox") || headings != 1 || mains != 1 {
			t.Errorf("%s: title %q, %d h1, %d main", to, title, headings, mains)
		}
	}
}

func TestConsentPage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for provider, want := range map[string]string{ // every box: + ticked, - not, ! cannot be changed
		sandbox.Strava:     "read+! profile:read_all+ activity:read_all+",
		sandbox.Garmin:     "ACTIVITY_EXPORT+ HEALTH_EXPORT+ HISTORICAL_DATA_EXPORT-",
		sandbox.Foursquare: "",
	} {
		page := r.page(r.authorizeURL(provider))
		var boxes []string
		page.Find("input[type=checkbox]").Each(func(_ int, box *goquery.Selection) {
			mark := "-"
			if _, ticked := box.Attr("checked"); ticked {
				mark = "+"
			}
			if _, fixed := box.Attr("disabled"); fixed {
				mark += "!"
			}
			boxes = append(boxes, box.AttrOr("value", "")+mark)
		})
		if got := strings.Join(boxes, " "); got != want {
			t.Errorf("%s: boxes %q, want %q", provider, got, want)
		}
		names := page.Find("label.person b").Map(func(_ int, name *goquery.Selection) string { return name.Text() })
		first := `Ada Example|Žofie Ångström-李|Moss|Maximiliana-Konstantina Featherstonehaugh & O'Brien <of> "Llan`
		if got := strings.Join(names, "|"); !strings.HasPrefix(got, first) {
			t.Errorf("%s: people %s", provider, got)
		}
		if n := page.Find("form[method=post] button[name=decision]").Length(); n != 2 {
			t.Errorf("%s: %d buttons, want Allow and Deny", provider, n)
		}
		if n := page.Find("script, style, [style], [onclick]").Length(); n != 0 {
			t.Errorf("%s: %d things that the policy forbids", provider, n)
		}
	}
}

func TestPageHeaders(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.do("GET", r.authorizeURL(sandbox.Garmin), nil).header
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; " +
			"frame-ancestors 'none'; form-action 'self' http://cairn.test",
		"Cache-Control":          "no-store",
		"Referrer-Policy":        "same-origin",
		"X-Content-Type-Options": "nosniff",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	style := r.do("GET", r.base+"/style.css", nil)
	if style.status != http.StatusOK || !strings.HasPrefix(style.header.Get("Content-Type"), "text/css") {
		t.Errorf("stylesheet: %d %s", style.status, style.header.Get("Content-Type"))
	}
}

func TestConsentFormRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, form := range []url.Values{
		{},
		{"person": {"ada"}},
		{"decision": {"allow"}},
		{"decision": {"allow"}, "person": {"unknown"}},
		{"decision": {"maybe"}, "person": {"ada"}},
	} {
		a := r.do("POST", r.authorizeURL(sandbox.Strava), form)
		if a.status != http.StatusBadRequest || a.header.Get("Location") != "" {
			t.Errorf("%v: %d to %q", form, a.status, a.header.Get("Location"))
		}
	}
	if grants, err := r.Grants(t.Context(), sandbox.Strava); err != nil || len(grants) != 0 {
		t.Errorf("grants %v, %v; want none", grants, err)
	}
}

// press submits the form around the button as a browser would and returns the page that follows.
func (r rig) press(page *goquery.Document, button string) *goquery.Document {
	r.t.Helper()
	pressed := page.Find(button).First()
	form := pressed.Closest("form")
	fields := url.Values{pressed.AttrOr("name", ""): {pressed.AttrOr("value", "")}}
	form.Find("input").Each(func(_ int, s *goquery.Selection) {
		fields.Set(s.AttrOr("name", ""), s.AttrOr("value", ""))
	})
	form.Find("select").Each(func(_ int, s *goquery.Selection) {
		fields.Set(s.AttrOr("name", ""), s.Find("option[selected]").AttrOr("value", ""))
	})
	base, _ := url.Parse(r.base)
	to, err := base.Parse(form.AttrOr("action", "no form"))
	if err != nil {
		r.t.Fatal(err)
	}
	a := r.do("POST", to.String(), fields)
	if a.status == http.StatusSeeOther {
		to, _ = base.Parse(a.header.Get("Location"))
		return r.page(to.String())
	}
	r.wantStatus(button, a, http.StatusOK)
	document, err := goquery.NewDocumentFromReader(strings.NewReader(a.body))
	if err != nil {
		r.t.Fatal(err)
	}
	return document
}

func TestControlPage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	strava := r.connect(sandbox.Strava, "max", "activity:read_all").text("access_token")
	r.connect(sandbox.Garmin, "ada", "ACTIVITY_EXPORT")
	page := r.page(r.base + "/")
	if got := page.Find("#strava .connections b").Text(); !strings.HasSuffix(got, `& O'Brien <of> "Llanfairpwll"`) {
		t.Errorf("connection of %q", got)
	}
	if got := page.Find("#strava .counts p").Text(); got != "Token requests: 1 with a code, 0 to refresh." {
		t.Error(got)
	}

	page.Find("#strava select[name=api] option").RemoveAttr("selected")
	page.Find("#strava select[name=api] option[value='429']").SetAttr("selected", "")
	page = r.press(page, "#strava .switches > button")
	selected := page.Find("#strava select[name=api] option[selected]").AttrOr("value", "")
	if page.Find("#strava .flag").Length() != 1 || selected != "429" {
		t.Error("the switch does not show")
	}
	r.wantStatus("API with the switch set", r.userInfo(sandbox.Strava, strava), http.StatusTooManyRequests)
	r.set(sandbox.Strava, sandbox.API, sandbox.ModeNone)

	page = r.press(page, "#strava .counts button")
	if got := page.Find("#strava .connections").Text(); !strings.Contains(got, "Access token expired") {
		t.Errorf("after expiring: %s", got)
	}
	r.wantStatus("expired", r.userInfo(sandbox.Strava, strava), http.StatusUnauthorized)

	page = r.press(page, "#garmin form[action$=pull] button")
	r.wantStatus("pull URL", r.do("GET", page.Find(".url").Text(), nil), http.StatusOK)

	page = r.press(page, "#strava button.bad")
	if n := page.Find("#strava .connections").Length(); n != 0 {
		t.Error("still connected after Revoke")
	}
}
