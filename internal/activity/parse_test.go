package activity

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twpayne/go-polyline"
)

func TestDrawing(t *testing.T) {
	t.Parallel()
	line := func(coords ...[]float64) string { return string(polyline.EncodeCoords(coords)) }
	zigzag := make([][]float64, 5000)
	for i := range zigzag {
		zigzag[i] = []float64{45 + float64(i)/5000, 4 + float64(i%7)/100}
	}
	for name, tt := range map[string]struct {
		encoded, path, end string
		width, height      int
	}{
		"north is up":   {line([]float64{0, 0}, []float64{1, 0}), "M36 636l0-600", "36 36", 72, 672},
		"east is right": {line([]float64{0, 0}, []float64{0, 1}), "M36 36l600 0", "636 36", 672, 72},
		"degrees narrow northwards": {
			line([]float64{60, 0}, []float64{60, 1}, []float64{60.5, 1}),
			"M36 636l600 0 0-600", "636 36", 672, 672,
		},
		"over the date line, and back": {
			line([]float64{0, 179.5}, []float64{0, -179.5}, []float64{0, 179.5}),
			"M36 36l600 0-600 0", "", 672, 72,
		},
		"points on the way": {
			line([]float64{0, 0}, []float64{0.3, 0}, []float64{0.8, 0.0001}, []float64{1, 0}),
			"M36 636l0-600", "36 36", 73, 672,
		},
		"nothing":      {},
		"one point":    {encoded: line([]float64{45, 4})},
		"on the spot":  {encoded: line([]float64{45, 4}, []float64{45, 4})},
		"garbage":      {encoded: "\x00\x01 not a line"},
		"half a point": {encoded: line([]float64{45, 4}, []float64{46, 4})[:5]},
		"too much":     {encoded: strings.Repeat("??", maxPolyline)},
	} {
		d := draw(tt.encoded)
		if d == nil {
			d = &Drawing{}
		}
		if *d != (Drawing{tt.path, tt.end, tt.width, tt.height}) {
			t.Errorf("%s: got %+v", name, *d)
		}
	}
	d := draw(line(zigzag...))
	steps := regexp.MustCompile(`-?\d+`).FindAllString(d.Path, -1)
	if n := len(steps) / 2; n > maxPoints || n < maxPoints/5 {
		t.Errorf("a long route has %d points", n)
	}
}

// Whatever is decoded, the path is one, and lies inside its picture.
func FuzzDrawing(f *testing.F) {
	path, number := regexp.MustCompile(`^M\d+ \d+l-?\d+( \d+|-\d+)+$`), regexp.MustCompile(`-?\d+`)
	f.Add("_p~iF~ps|U_ulLnnqC_mqNvxq`@")
	f.Fuzz(func(t *testing.T, encoded string) {
		d := draw(encoded)
		if d == nil {
			return
		}
		if !path.MatchString(d.Path) || d.Width < 72 || d.Height < 72 || d.Width > 673 || d.Height > 673 {
			t.Fatalf("%q: %+v", encoded, d)
		}
		var at [2]int
		for i, step := range number.FindAllString(d.Path, -1) {
			n, _ := strconv.Atoi(step)
			at[i%2] += n
			if at[i%2] < margin || at[i%2] > [2]int{d.Width, d.Height}[i%2]-margin {
				t.Fatalf("%q leaves its picture: %+v", encoded, d)
			}
		}
		if d.End != "" && d.End != fmt.Sprintf("%d %d", at[0], at[1]) {
			t.Errorf("%q does not end at %s: %s", encoded, d.End, d.Path)
		}
	})
}

func TestSports(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Sport{
		"Run": Run, "TrailRun": Run, "TREADMILL_RUNNING": Run, "GravelRide": Ride, "EBikeRide": Ride,
		"INDOOR_CYCLING": Ride, "Velomobile": Ride, "Hike": Hike, "WALKING": Hike, "LAP_SWIMMING": Swim, "Rowing": Swim,
		"NordicSki": Snow, "RESORT_SKIING_SNOWBOARDING": Snow, "Snowshoe": Snow, "IceSkate": Snow,
		"WeightTraining": Gym, "Yoga": Gym, "MOTORCYCLING": Gym, "RollerSki": Gym, "": Gym, "スキー": Gym,
	} {
		if got := sportOf(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
	for want, stored := range map[Sport]Entry{
		Place: {Kind: "Ski chalet"},
		Run:   {Kind: "Trail run", Seconds: 60},
		Snow:  {Kind: "Cross country skiing", Device: "Garmin"},
	} {
		if got := earlierSport(stored); got != want {
			t.Errorf("%+v, stored by the version before, is %q, want %q", stored, got, want)
		}
	}
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
			Offset: 7200, Metres: 1, Seconds: 60, Sport: Run, Kind: "Run",
		},
		strava(`,"elapsed_time":90,"total_elevation_gain":12.5,"average_heartrate":139.6`): {
			Elapsed: 90, Climb: 12.5, Pulse: 139.6,
		},
		strava(`,"elapsed_time":"x","total_elevation_gain":-3,"average_heartrate":null`): {},
		strava(`,"utc_offset":1e9,"distance":-5,"moving_time":-1`):                       {},
		strava(`,"map":null,"private":true,"device_name":"Wahoo"`):                       {Private: true},
		strava(`,"device_name":"Garmin Edge 840","type":"Ride"`): {
			Device: "Garmin Edge 840", Sport: Ride, Kind: "Ride",
		},
		strava(`,"start_date_local":"2025-10-18T00:00:01Z"`): {DayOnly: true},
	} {
		want.ID, want.Title, want.At, want.Sport = "9007199254740993", "x", at, cmp.Or(want.Sport, Gym)
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
	for i := range maxEntries {
		kept = append(kept, at(fmt.Sprintf("older %d", i), -i, ""))
	}
	got := merge(kept, []Entry{at("d", 4, "new"), at("x", 0, ""), at("f", 6, "")})
	var order strings.Builder
	for _, e := range got[:4] {
		order.WriteString(e.ID + e.Title)
	}
	if order.String() != "fednewc" || len(got) != maxEntries {
		t.Errorf("got %s", order.String())
	}
	if got := merge(nil, nil); got == nil {
		t.Error("no entries are stored as null, which the schema refuses")
	}
}
