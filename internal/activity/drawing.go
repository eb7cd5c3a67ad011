package activity

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/twpayne/go-polyline"
)

// Drawing is a route as a line for an SVG, in steps too small to see. It does not say where the route was.
type Drawing struct {
	Path   string `json:"path"`          // of an SVG path element
	End    string `json:"end,omitempty"` // "12 34", where the line ends; empty where it began, or near
	Width  int    `json:"width"`
	Height int    `json:"height"`
}

const (
	maxPolyline = 64 << 10 // bytes that are decoded
	maxDecoded  = 1000     // points that are read
	maxPoints   = 300      // points that are drawn: more would not be seen
	longSide    = 600      // of a drawing, in its own units
	margin      = 36       // for the line's width and the marks at its ends
	near        = longSide / 20
)

// Draw makes a drawing of an encoded polyline, north up. It returns nil if there is nothing to
// draw: no route, a route that does not decode, or one that stays in one place.
func Draw(encoded string) *Drawing {
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
	var points []point
	for i := range thinned(len(coords)) {
		points = append(points, point{(x[i] - left) * scale, (y[i] - top) * scale})
	}
	path, end := pathOf(simplified(points))
	return &Drawing{path, end, side((right - left) * scale), side((bottom - top) * scale)}
}

// pathOf writes a line as an SVG path: the first point, then the step from each point to the next.
func pathOf(points []point) (path, end string) {
	var text strings.Builder
	from := points[0].onGrid()
	fmt.Fprintf(&text, "M%d %dl", from[0], from[1])
	at := from
	for i, p := range points[1:] {
		to := p.onGrid()
		for axis, step := range [2]int{to[0] - at[0], to[1] - at[1]} {
			if step >= 0 && i+axis > 0 { // a minus sign separates, too
				text.WriteByte(' ')
			}
			text.WriteString(strconv.Itoa(step))
		}
		at = to
	}
	if math.Hypot(float64(at[0]-from[0]), float64(at[1]-from[1])) > near {
		end = fmt.Sprintf("%d %d", at[0], at[1])
	}
	return text.String(), end
}

type point struct{ x, y float64 }

func (p point) onGrid() [2]int {
	return [2]int{int(math.Round(p.x)) + margin, int(math.Round(p.y)) + margin}
}

// simplified leaves out points of a line that would not be seen, and more if too many are left.
func simplified(line []point) []point {
	for tolerance := 0.6; ; tolerance *= 2 {
		if kept := within(line, tolerance); len(kept) <= maxPoints {
			return kept
		}
	}
}

// within leaves out points that are no further than a distance from the line through the others (Ramer, Douglas and
// Peucker).
func within(line []point, distance float64) []point {
	far, at := 0.0, 0
	first, last := line[0], line[len(line)-1]
	for i := 1; i < len(line)-1; i++ {
		if d := line[i].from(first, last); d > far {
			far, at = d, i
		}
	}
	if far <= distance {
		return []point{first, last}
	}
	return append(within(line[:at+1], distance), within(line[at:], distance)[1:]...)
}

// from returns the distance from the line between two points.
func (p point) from(a, b point) float64 {
	dx, dy := b.x-a.x, b.y-a.y
	along := 0.0
	if length := dx*dx + dy*dy; length > 0 {
		along = min(1, max(0, ((p.x-a.x)*dx+(p.y-a.y)*dy)/length))
	}
	return math.Hypot(p.x-a.x-along*dx, p.y-a.y-along*dy)
}

// project projects degrees to a plane, accurately enough for a route. Longitudes go on beyond 180 degrees.
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

// thinned yields the indexes of at most maxDecoded of n points, the first and the last among them.
func thinned(n int) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		points := min(n, maxDecoded)
		for i := range points {
			if !yield(i * (n - 1) / (points - 1)) {
				return
			}
		}
	}
}

func side(v float64) int { return int(math.Ceil(v)) + 2*margin }
