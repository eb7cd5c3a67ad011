package sandbox_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/sandbox"
)

type fullActivity struct {
	ID             int64
	Name           string
	SportType      string    `json:"sport_type"`
	Distance       float64   // metres
	MovingTime     int       `json:"moving_time"`
	StartDate      time.Time `json:"start_date"`
	StartDateLocal time.Time `json:"start_date_local"`
	Timezone       string
	UTCOffset      float64 `json:"utc_offset"`
	Map            struct {
		SummaryPolyline string `json:"summary_polyline"`
	}
	StartLatLng []float64 `json:"start_latlng"`
	Device      string    `json:"device_name"`
}

func (r rig) fullActivities(person string) []fullActivity {
	r.t.Helper()
	access := r.connect(sandbox.Strava, person, "activity:read_all").text("access_token")
	var list []fullActivity
	a := r.get(r.at(sandbox.Strava).API+"/athlete/activities?per_page=200", access)
	if err := json.Unmarshal([]byte(a.body), &list); err != nil {
		r.t.Fatalf("%v in %.200s", err, a.body)
	}
	return list
}

// decoded is a polyline's points, by the published algorithm.
func decoded(line string) (points [][2]float64) {
	var lat, lng int
	number := func() int {
		n, shift := 0, 0
		for {
			c := int(line[0]) - 63
			line = line[1:]
			n |= c & 0x1f << shift
			if shift += 5; c < 0x20 {
				break
			}
		}
		if n&1 != 0 {
			return ^(n >> 1)
		}
		return n >> 1
	}
	for line != "" {
		lat += number()
		lng += number()
		points = append(points, [2]float64{float64(lat) / 1e5, float64(lng) / 1e5})
	}
	return points
}

// metres is how long a route is.
func metres(points [][2]float64) (length float64) {
	for i := range points[1:] {
		a, b := points[i], points[i+1]
		length += 111320 * math.Hypot(b[0]-a[0], (b[1]-a[1])*math.Cos(a[0]*math.Pi/180))
	}
	return length
}

func TestRoutesArePlausible(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	homes := map[string][2]float64{"ada": {45.7606, 4.8359}, "zofie": {48.8127, 14.3175}, "max": {-33.4489, -70.6693}}
	for person, home := range homes {
		var outside int
		for _, a := range r.fullActivities(person) {
			line := a.Map.SummaryPolyline
			if line == "" {
				if len(a.StartLatLng) != 0 {
					t.Errorf("%s: a start without a route", a.SportType)
				}
				continue
			}
			outside++
			points := decoded(line)
			if math.Abs(points[0][0]-home[0]) > 1e-5 || math.Abs(points[0][1]-home[1]) > 1e-5 {
				t.Errorf("%s starts at %v, want %v", person, points[0], home)
			}
			if got := metres(points); math.Abs(got-a.Distance) > a.Distance/100+10 || len(points) < 50 {
				t.Errorf("%s of %s: a route of %.0f m and %d points, want %.0f m",
					a.SportType, person, got, len(points), a.Distance)
			}
		}
		if outside < 10 {
			t.Errorf("%s went out %d times", person, outside)
		}
	}
}

func TestPolylineAsPublished(t *testing.T) {
	t.Parallel()
	want := [][2]float64{{38.5, -120.2}, {40.7, -120.95}, {43.252, -126.453}}
	if got := decoded("_p~iF~ps|U_ulLnnqC_mqNvxq`@"); !slices.Equal(got, want) {
		t.Errorf("the test's own decoder: %v, want %v", got, want)
	}
}

func TestPeopleDoDifferentThings(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	all := map[string]map[string]bool{}
	var names strings.Builder
	for _, person := range []string{"ada", "zofie", "max"} {
		all[person] = map[string]bool{}
		for _, a := range r.fullActivities(person) {
			all[person][a.SportType] = true
			names.WriteString(a.Name + "\n")
			speed := a.Distance / float64(a.MovingTime)
			if a.SportType != "WeightTraining" && (speed < 0.5 || speed > 10) ||
				a.SportType == "WeightTraining" && a.Distance != 0 {
				t.Errorf("%s at %.1f m/s", a.SportType, speed)
			}
			if local := a.StartDate.Add(time.Duration(a.UTCOffset) * time.Second); !local.Equal(a.StartDateLocal) {
				t.Errorf("local start %s, want %s", a.StartDateLocal, local)
			}
		}
		if len(all[person]) < 4 {
			t.Errorf("%s does %v only", person, slices.Collect(maps.Keys(all[person])))
		}
	}
	if maps.Equal(all["ada"], all["zofie"]) || maps.Equal(all["ada"], all["max"]) {
		t.Error("all do the same")
	}
	for _, want := range []string{"🌅", "žluťoučký", "<b>"} {
		if !strings.Contains(names.String(), want) {
			t.Errorf("nothing is called %q", want)
		}
	}
	days := map[int]bool{}
	for _, a := range r.fullActivities("ada") {
		days[a.StartDateLocal.YearDay()] = true
	}
	if all := len(r.fullActivities("ada")); all < 40 || len(days) == all || len(days) < 30 {
		t.Errorf("Ada did %d things on %d days", all, len(days))
	}
	if got := r.fullActivities("moss"); len(got) != 0 {
		t.Errorf("Moss did %d things", len(got))
	}
	if first, second := r.fullActivities("ada"), r.fullActivities("ada"); fmt.Sprint(first) != fmt.Sprint(second) {
		t.Error("another diary the second time")
	}
}

func TestTimesAreThePlacesOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	zones := map[string]string{"ada": "(GMT+01:00) Europe/Paris", "max": "(GMT-04:00) America/Santiago"}
	for person, want := range zones {
		_, name, _ := strings.Cut(want, ") ")
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range r.fullActivities(person) {
			if _, offset := a.StartDate.In(zone).Zone(); a.Timezone != want || int(a.UTCOffset) != offset {
				t.Errorf("%s on %s: %s, offset %.0f, want %d", person, a.StartDate, a.Timezone, a.UTCOffset, offset)
			}
		}
	}
	token := r.connect(sandbox.Foursquare, "ada").text("access_token")
	var list struct {
		Response struct {
			Checkins struct {
				Items []struct {
					CreatedAt      int64
					TimeZoneOffset int
					Venue          struct {
						Name     string
						Location struct{ CC, City string }
					}
				}
			}
		}
	}
	a := r.get(r.at(sandbox.Foursquare).API+"/users/self/checkins?v=20261101&limit=250", token)
	if err := json.Unmarshal([]byte(a.body), &list); err != nil {
		t.Fatal(err)
	}
	abroad, onTheWay := 0, 0
	out := r.fullActivities("ada")
	for _, item := range list.Response.Checkins.Items {
		if slices.ContainsFunc(out, func(a fullActivity) bool {
			since := item.CreatedAt - a.StartDate.Unix()
			return since > 0 && since < int64(a.MovingTime)
		}) {
			onTheWay++
		}
		if item.Venue.Location.CC == "JP" {
			if abroad++; item.TimeZoneOffset != 540 || item.Venue.Location.City != "千代田区" {
				t.Errorf("in Tokyo: %+v", item)
			}
		}
	}
	if abroad == 0 {
		t.Error("no check-in is abroad")
	}
	if onTheWay == 0 {
		t.Error("no check-in is on the way of an activity")
	}
}

func TestQuietPeopleCanBeMoved(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id, err := r.NewActivity(t.Context(), "moss")
	if err != nil {
		t.Fatal(err)
	}
	if got := r.fullActivities("moss"); len(got) != 1 || got[0].ID != id || got[0].Device != "Garmin vívoactive 5" {
		t.Errorf("got %+v", got)
	}
	older := r.fullActivities("ada")[5]
	title := "Přejmenováno"
	if err := r.ChangeActivity(t.Context(), "ada", older.ID, sandbox.ActivityChange{Title: &title}); err != nil {
		t.Fatal(err)
	}
	if got := r.fullActivities("ada")[5]; got.ID != older.ID || got.Name != title || got.Distance != older.Distance {
		t.Errorf("changed into %+v from %+v", got, older)
	}
	if err := r.DeleteActivity(t.Context(), "ada", older.ID); err != nil {
		t.Fatal(err)
	}
	if got := r.fullActivities("ada")[5]; got.ID == older.ID {
		t.Error("not deleted")
	}
	if _, err := r.NewActivity(t.Context(), "unknown"); err != sandbox.ErrNoEntry {
		t.Errorf("an activity of an unknown person: %v", err)
	}
}
