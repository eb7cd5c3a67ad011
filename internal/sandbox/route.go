package sandbox

import (
	"math"
	"slices"
)

const metresPerDegree = 111_320 // of latitude, and of longitude at the equator

type point struct{ lat, lng float64 }

// rounded returns a start or an end as Strava shows it.
func (p point) rounded() []float64 {
	return []float64{math.Round(p.lat*100) / 100, math.Round(p.lng*100) / 100}
}

// route returns where the activity went: a bent loop from home, or out along a part of one and back, as long as the
// activity's distance. Indoors there is none.
func (o activity) route() []point {
	if o.sport.indoor || o.distance == 0 {
		return nil
	}
	dice := diceFor(o.id)
	const corners = 96
	type wave struct{ size, phase float64 }
	var waves []wave
	for n := range 5 {
		waves = append(waves, wave{0.3 * dice.Float64() / float64(n+1), 2 * math.Pi * dice.Float64()})
	}
	turn, whole := 2*math.Pi*dice.Float64(), 2*math.Pi
	back := dice.IntN(3) == 0
	if back {
		whole = 2
	}
	var path []point // on a plane, its size still open
	for i := range corners + 1 {
		angle := whole * float64(i) / corners
		radius := 1.0
		for n, w := range waves {
			radius += w.size * math.Sin(float64(n+2)*angle+w.phase)
		}
		path = append(path, point{radius * math.Sin(angle+turn), radius * math.Cos(angle+turn)})
	}
	if back {
		home := slices.Clone(path[:corners])
		slices.Reverse(home)
		path = append(path, home...)
	}
	return onEarth(path, o.distance, point{o.person.lat, o.person.lng})
}

// onEarth lays a path out from start so that it is as long as it should be, in metres.
func onEarth(path []point, length float64, start point) []point {
	drawn := 0.0
	for i := range path[1:] {
		drawn += math.Hypot(path[i+1].lat-path[i].lat, path[i+1].lng-path[i].lng)
	}
	scale, squeeze := length/drawn/metresPerDegree, math.Cos(start.lat*math.Pi/180)
	var laid []point
	for _, p := range path {
		laid = append(laid, point{start.lat + (p.lat-path[0].lat)*scale, start.lng + (p.lng-path[0].lng)*scale/squeeze})
	}
	return laid
}

// polyline encodes a route as Strava and maps do: differences in 1/100000 degree, zigzag, five bits to a character.
func polyline(route []point) string {
	var text []byte
	var lat, lng int
	for _, p := range route {
		nextLat, nextLng := int(math.Round(p.lat*1e5)), int(math.Round(p.lng*1e5))
		text = polylineNumber(polylineNumber(text, nextLat-lat), nextLng-lng)
		lat, lng = nextLat, nextLng
	}
	return string(text)
}

func polylineNumber(text []byte, n int) []byte {
	bits := n << 1
	if n < 0 {
		bits = ^bits
	}
	for bits >= 0x20 {
		text = append(text, byte(bits&0x1f|0x20)+63)
		bits >>= 5
	}
	return append(text, byte(bits)+63)
}
