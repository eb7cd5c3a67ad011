package activity

import (
	"math"
	"strconv"
	"strings"

	"github.com/twpayne/go-polyline"
)

// Drawing is a route as a line that an SVG can show.
type Drawing struct {
	Path   string `json:"path"` // of an SVG path element
	Width  int    `json:"width"`
	Height int    `json:"height"`
}

const (
	maxPolyline = 64 << 10 // bytes that are decoded
	maxPoints   = 300      // that are drawn: more does not show at this size
	longSide    = 100      // of a drawing, in its own units
	margin      = 4        // for the line's width
)

// draw makes a drawing of an encoded polyline, north up. It returns nil if there is nothing to
// draw: no route, a route that does not decode, or one that stays where it is.
func draw(encoded string) *Drawing {
	if encoded == "" || len(encoded) > maxPolyline {
		return nil
	}
	coords, rest, err := polyline.DecodeCoords([]byte(encoded))
	if err != nil || len(rest) > 0 || len(coords) < 2 {
		return nil
	}
	x, y := project(coords)
	left, right := bounds(x)
	top, bottom := bounds(y)
	size := max(right-left, bottom-top)
	if size <= 0 || math.IsInf(size, 0) || math.IsNaN(size) {
		return nil
	}
	scale := longSide / size
	var path strings.Builder
	for i := range thinned(len(coords)) {
		path.WriteByte(command(i))
		path.WriteString(coordinate((x[i] - left) * scale))
		path.WriteByte(' ')
		path.WriteString(coordinate((y[i] - top) * scale))
	}
	return &Drawing{path.String(), side((right - left) * scale), side((bottom - top) * scale)}
}

// project flattens degrees to a plane that is true enough for a route. Longitudes go on beyond 180 degrees.
func project(coords [][]float64) (x, y []float64) {
	narrow := max(0.01, math.Cos(coords[0][0]*math.Pi/180))
	for i, c := range coords {
		lng := c[1]
		if i > 0 {
			lng -= 360 * math.Round((lng-x[i-1]/narrow)/360)
		}
		x, y = append(x, lng*narrow), append(y, -c[0])
	}
	return x, y
}

func bounds(values []float64) (low, high float64) {
	low, high = values[0], values[0]
	for _, v := range values {
		low, high = min(low, v), max(high, v)
	}
	return low, high
}

// thinned yields the places of at most maxPoints points, the first and the last among them.
func thinned(n int) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		points := min(n, maxPoints)
		for i := range points {
			if !yield(i * (n - 1) / (points - 1)) {
				return
			}
		}
	}
}

func command(i int) byte {
	if i == 0 {
		return 'M'
	}
	return 'L'
}

func coordinate(v float64) string {
	return strconv.FormatFloat(math.Round((v+margin)*10)/10, 'f', -1, 64)
}

func side(v float64) int { return int(math.Ceil(v)) + 2*margin }
