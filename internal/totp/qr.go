package totp

import (
	"fmt"
	"image/color"
	"strings"

	"github.com/boombuler/barcode"
	"github.com/boombuler/barcode/qr"
)

// Drawing is a QR code: a square of size by size modules, and the path, in SVG, of the dark ones.
type Drawing struct {
	Size int
	Path string
}

// QR draws a text as a QR code. It fails if the text is too long.
func QR(text string) (Drawing, error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return Drawing{}, fmt.Errorf("totp: draw a QR code: %w", err)
	}
	size := code.Bounds().Dx()
	var path strings.Builder
	for y := range size {
		for x := 0; x < size; x++ {
			run := darkRun(code, x, y, size)
			if run > 0 {
				_, _ = fmt.Fprintf(&path, "M%d %dh%dv1h-%dz", x, y, run, run)
				x += run
			}
		}
	}
	return Drawing{size, path.String()}, nil
}

// darkRun returns how many dark modules in row y follow each other from x on.
func darkRun(code barcode.Barcode, x, y, size int) (n int) {
	for x+n < size && code.At(x+n, y) == color.Black {
		n++
	}
	return n
}
