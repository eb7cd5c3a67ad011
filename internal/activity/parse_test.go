package activity

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twpayne/go-polyline"
)

func TestDrawing(t *testing.T) {
	t.Parallel()
	line := func(coords ...[]float64) string { return string(polyline.EncodeCoords(coords)) }
	long := make([][]float64, 5000)
	for i := range long {
		long[i] = []float64{45 + float64(i)/5000, 4}
	}
	for name, tt := range map[string]struct {
		encoded, path string
		width, height int
	}{
		"north is up":   {line([]float64{0, 0}, []float64{1, 0}), "M4 104L4 4", 8, 108},
		"east is right": {line([]float64{0, 0}, []float64{0, 1}), "M4 4L104 4", 108, 8},
		"degrees narrow northwards": {
			line([]float64{60, 0}, []float64{60, 1}, []float64{60.5, 1}),
			"M4 104L104 104L104 4", 108, 108,
		},
		"over the date line": {
			line([]float64{0, 179.5}, []float64{0, -179.5}, []float64{0, 179.5}),
			"M4 4L104 4L4 4", 108, 8,
		},
		"nothing":      {"", "", 0, 0},
		"one point":    {line([]float64{45, 4}), "", 0, 0},
		"on the spot":  {line([]float64{45, 4}, []float64{45, 4}), "", 0, 0},
		"garbage":      {"\x00\x01 not a line", "", 0, 0},
		"half a point": {line([]float64{45, 4}, []float64{46, 4})[:5], "", 0, 0},
		"too much":     {strings.Repeat("??", maxPolyline), "", 0, 0},
	} {
		d := draw(tt.encoded)
		if d == nil {
			d = &Drawing{}
		}
		if *d != (Drawing{tt.path, tt.width, tt.height}) {
			t.Errorf("%s: got %+v", name, *d)
		}
	}
	d := draw(line(long...))
	points := strings.Count(d.Path, "L") + 1
	if points != maxPoints || !strings.HasPrefix(d.Path, "M4 104") || !strings.HasSuffix(d.Path, "L4 4") {
		t.Errorf("a long route has %d points, from %.8s", points, d.Path)
	}
}

// Whatever is decoded, the path is one, and lies inside its picture.
func FuzzDrawing(f *testing.F) {
	path := regexp.MustCompile(`^M\d+(\.\d)? \d+(\.\d)?(L\d+(\.\d)? \d+(\.\d)?)+$`)
	f.Add("_p~iF~ps|U_ulLnnqC_mqNvxq`@")
	f.Fuzz(func(t *testing.T, encoded string) {
		d := draw(encoded)
		if d != nil && (!path.MatchString(d.Path) || d.Width < 8 || d.Height < 8 || d.Width > 109 || d.Height > 109) {
			t.Errorf("%q: %+v", encoded, d)
		}
	})
}

func TestSportInWords(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Run": "Run", "TrailRun": "Trail run", "EBikeRide": "E-bike ride", "WeightTraining": "Weight training", "": "",
		"RUNNING": "Running", "CROSS_COUNTRY_SKIING": "Cross country skiing", "running": "Running",
		"BMX": "Bmx", "スキー": "スキー",
	} {
		if got := sportInWords(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
	if got := sportInWords("", "Ride"); got != "Ride" {
		t.Errorf("the older field is read as %q", got)
	}
}

// An odd entry costs only itself, an odd field only itself.
func TestOddEntries(t *testing.T) {
	t.Parallel()
	strava := func(fields string) string {
		return `{"id":9007199254740993,"name":"x","start_date":"2025-10-18T12:49:52Z"` + fields + `}`
	}
	at := time.Date(2025, 10, 18, 12, 49, 52, 0, time.UTC)
	for in, want := range map[string]Entry{
		strava(`,"utc_offset":7200.0,"distance":1,"moving_time":60,"sport_type":"Run"`): {
			Offset: 7200, Metres: 1, Seconds: 60, Kind: "Run",
		},
		strava(`,"utc_offset":1e9,"distance":-5,"moving_time":-1`): {},
		strava(`,"map":null,"private":true,"device_name":"Wahoo"`): {Private: true},
		strava(`,"device_name":"Garmin Edge 840","type":"Ride"`): {
			Device: "Garmin Edge 840", Kind: "Ride",
		},
		strava(`,"start_date_local":"2025-10-18T00:00:01Z"`): {DayOnly: true},
	} {
		want.ID, want.Title, want.At = "9007199254740993", "x", at
		want.Page = "https://www.strava.com/activities/9007199254740993"
		var got items[stravaActivity]
		if err := json.Unmarshal([]byte(`[7,`+in+`,{"id":"x"}]`), &got); err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%s: got %+v, error %v", in, got, err)
		}
	}
	for _, in := range []string{
		`{}`,
		`{"id":0,"start_date":"2025-10-18T12:49:52Z"}`,
		`{"id":7}`,
		`{"id":7,"start_date":"0001-01-01T00:00:00Z"}`,
		`{"id":7,"start_date":"x"}`,
	} {
		var got items[stravaActivity]
		if _ = json.Unmarshal([]byte(`[`+in+`]`), &got); len(got) != 0 {
			t.Errorf("%s: got %+v", in, got)
		}
	}
	for _, in := range []string{`{"error":"x"}`, `null`, `[7,"x"]`} {
		var got items[stravaActivity]
		if json.Unmarshal([]byte(in), &got) == nil {
			t.Errorf("%s counts as a list", in)
		}
	}
	for _, in := range []string{`{"error":"x"}`, `{"response":{"checkins":null}}`, `[]`} {
		var got checkins
		if json.Unmarshal([]byte(in), &got) == nil {
			t.Errorf("%s counts as check-ins", in)
		}
	}
	e, ok := (checkin{ID: "x", CreatedAt: 1760791792}).entry()
	if !ok || e.Title != "A place that Foursquare does not list any more" || e.Page != "" {
		t.Errorf("a check-in without a venue: %+v", e)
	}
}

func TestMergeKeepsTheNewest(t *testing.T) {
	t.Parallel()
	at := func(id string, hour int, title string) Entry {
		return Entry{ID: id, At: time.Date(2026, 1, 1, hour, 0, 0, 0, time.UTC), Title: title}
	}
	kept := []Entry{at("e", 5, ""), at("d", 4, "old"), at("c", 3, "")}
	got := merge(kept, []Entry{at("d", 4, "new"), at("x", 0, ""), at("f", 6, "")})
	var order strings.Builder
	for _, e := range got {
		order.WriteString(e.ID + e.Title)
	}
	if order.String() != "fednew" {
		t.Errorf("got %s", order.String())
	}
	if got := merge(nil, nil); got == nil {
		t.Error("no entries are stored as null, which the schema refuses")
	}
}
