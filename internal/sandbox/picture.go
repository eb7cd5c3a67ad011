package sandbox

import (
	"image"
	"image/color"
	"image/png"
	"math"
	"net/http"
	"strings"
)

const pictureSide = 300

// picture serves the person's picture. Only because providers have a size in the path, this one has it, too.
func (s *Sandbox) picture(w http.ResponseWriter, r *http.Request) error {
	key, _ := strings.CutSuffix(r.PathValue("picture"), ".png")
	p, known := personBy(key)
	if !known {
		return s.notFound(w, r)
	}
	w.Header().Set("Content-Type", "image/png")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_ = png.Encode(w, p.hills()) // fails when the client has gone
	return nil
}

// hills draws three hills of one colour, darker towards the front, below a sun.
func (p person) hills() image.Image {
	picture := image.NewNRGBA(image.Rect(0, 0, pictureSide, pictureSide))
	for y := range pictureSide {
		for x := range pictureSide {
			across, down := float64(x)/pictureSide, float64(y)/pictureSide
			shade := 0.88
			for hill := range 3 {
				wave := math.Sin(across*(5+2*float64(hill)) + float64(p.hue)/40 + 2*float64(hill))
				if down > 0.42+0.17*float64(hill)-0.08*wave {
					shade = 0.68 - 0.18*float64(hill)
				}
			}
			c := shaded(p.hue, shade)
			if shade > 0.8 && math.Hypot(across-0.7, down-0.26) < 0.11 {
				c = color.NRGBA{240, 201, 120, 255}
			}
			picture.SetNRGBA(x, y, c)
		}
	}
	return picture
}

// shaded returns a colour of a hue, in degrees, between black and white.
func shaded(hue int, lightness float64) color.NRGBA {
	part := func(n float64) uint8 {
		k := math.Mod(n+float64(hue)/30, 12)
		strength := 0.34 * min(lightness, 1-lightness)
		return uint8(255 * (lightness - strength*max(-1, min(k-3, 9-k, 1))))
	}
	return color.NRGBA{part(0), part(8), part(4), 255}
}
