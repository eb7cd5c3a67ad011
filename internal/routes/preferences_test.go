package routes_test

import (
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"
)

// has checks that a page has an element.
func (a answer) has(selector string) answer {
	a.t.Helper()
	if a.status != 200 || a.Find(selector).Length() == 0 {
		a.t.Fatalf("got status %d (%q) without %s", a.status, strings.TrimSpace(a.Find("h1").Text()), selector)
	}
	return a
}

// zones returns the zone of each time on a page that is in the reader's zone.
func (a answer) zones() map[string]int {
	zones := map[string]int{}
	a.Find("main time[title]").Each(func(_ int, shown *goquery.Selection) {
		fields := strings.Fields(shown.AttrOr("title", ""))
		zones[fields[len(fields)-1]]++
	})
	return zones
}

// A person in Tokyo reads all times by Tokyo's clock, once their browser or they have set the zone.
func TestTimesAreByThePersonsClock(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, options{works: true})
	b := signedUp(t, s, "ada@example.org")
	b.connect("foursquare", "ada").to("/")
	awaitSyncs(t, s)
	pages := []string{"/connections", "/account"}
	for _, page := range pages {
		a := b.get(page).has("meta[name=zone-to][content='/account/zone']")
		if zones := a.zones(); len(zones) != 1 || zones["UTC"] == 0 {
			t.Errorf("%s without a zone: %v", page, zones)
		}
	}
	for _, odd := range []string{"", "Local", "Nowhere/At_All", "../../etc/passwd", "<b>", strings.Repeat("A", 99)} {
		b.post("/account/zone", "zone", odd).want(422, "", "")
	}
	b.post("/account/zone", "zone", "Asia/Tokyo").want(204, "", "")
	b.post("/account/zone", "zone", "Europe/Paris").want(204, "", "")
	for _, page := range pages {
		a := b.get(page)
		if zones := a.zones(); len(zones) != 1 || zones["JST"] == 0 || a.Find("meta[name=zone-to]").Length() > 0 {
			t.Errorf("%s in Tokyo: %v", page, zones)
		}
		if strings.Contains(a.Find("main time[title]").Text(), "UTC") {
			t.Errorf("%s has times in UTC", page)
		}
	}
	b.get("/account").want(200, "#zone option[selected]", "Asia/Tokyo")
}

func TestUnitsAndTimeAreChosen(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	b.get("/account").want(200, "#zone option[selected][value='']", "UTC").
		has("input[name=units][value=metric][checked]")
	b.get("/account", "Accept-Language", "en-US").has("input[name=units][value=imperial][checked]")
	b.post("/account/preferences", "zone", "", "units", "metric").want(422, "#zone-error", "Please choose a time zone")
	b.post("/account/preferences", "zone", "UTC", "units", "x").want(422, "#units-error", "kilometres or miles")
	b.get("/account/preferences").to("/account")
	b.post("/account/preferences", "zone", "Asia/Kolkata", "units", "imperial").to("/account#preferences")
	b.get("/account").want(200, "#preferences #notice", "saved").want(200, "#zone option[selected]", "Asia/Kolkata").
		has("input[name=units][value=imperial][checked]")
	b.post("/account/zone", "zone", "Asia/Tokyo").want(204, "", "") // a guess changes no choice
	b.post("/account/preferences", "zone", "Asia/Calcutta", "units", "metric").to("/account#preferences")
	b.get("/account", "Accept-Language", "en-US").
		want(200, "#zone option[selected]", "Asia/Calcutta"). // what a browser may call it
		has("input[name=units][value=metric][checked]")
}
