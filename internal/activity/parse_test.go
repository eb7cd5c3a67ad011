package activity

import (
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
		d := Draw(tt.encoded)
		if d == nil {
			d = &Drawing{}
		}
		if *d != (Drawing{tt.path, tt.end, tt.width, tt.height}) {
			t.Errorf("%s: got %+v", name, *d)
		}
	}
	d := Draw(line(zigzag...))
	steps := regexp.MustCompile(`-?\d+`).FindAllString(d.Path, -1)
	if n := len(steps) / 2; n > maxPoints || n < maxPoints/5 {
		t.Errorf("a long route has %d points", n)
	}
}

// Whatever is decoded, the path is an SVG path that lies inside its drawing.
func FuzzDrawing(f *testing.F) {
	path, number := regexp.MustCompile(`^M\d+ \d+l-?\d+( \d+|-\d+)+$`), regexp.MustCompile(`-?\d+`)
	f.Add("_p~iF~ps|U_ulLnnqC_mqNvxq`@")
	f.Fuzz(func(t *testing.T, encoded string) {
		d := Draw(encoded)
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
		if got := SportOf(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
	for want, stored := range map[Sport]Entry{
		Place: {Kind: "Ski chalet"},
		Run:   {Kind: "Trail run", Seconds: 60},
		Snow:  {Kind: "Cross country skiing", Device: "Garmin"},
	} {
		if got := earlierSport(stored); got != want {
			t.Errorf("%+v, stored by the previous version, is %q, want %q", stored, got, want)
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
		if got := SportInWords(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
	if got := SportInWords("", "Ride"); got != "Ride" {
		t.Errorf("the older field is read as %q", got)
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
