package routes

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
)

const (
	maxStones   = 7
	stoneHeight = 11.0
	ground      = 50.0 // on which they stand
	usualVisit  = 1800 // seconds: check-ins don't say how long a visit took
)

// cairnOf piles up a day in a picture of 52 by 52: a stone for each entry, as wide as the time that it took, with the
// widest at the bottom.
func cairnOf(entries []found) template.HTML {
	sorted := slices.Clone(entries)
	slices.SortStableFunc(sorted, func(a, b found) int { return cmp.Compare(secondsOf(b), secondsOf(a)) })
	sorted = sorted[:min(len(sorted), maxStones)]
	height := min(stoneHeight, 48/float64(len(sorted)))
	var stones strings.Builder
	for i, f := range sorted {
		width := min(23, 9+8*math.Sqrt(float64(secondsOf(f))/3600))
		x := 26 + []float64{0, 1.5, -1.5}[i%3]
		y := ground - (float64(i)+0.5)*height
		side := 1 - 2*float64(i%2) // every other one the other way round
		fmt.Fprintf(&stones, `<use href="#stone" class="stone %s" transform="translate(%.1f %.1f) scale(%.1f %.1f)"/>`,
			template.HTMLEscapeString(string(f.Sport)), x, y, side*width, height/2-0.2)
	}
	return template.HTML(stones.String())
}

func secondsOf(f found) int {
	if f.place() {
		return usualVisit
	}
	return max(f.Seconds, 600)
}
