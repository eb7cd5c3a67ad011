package avatar

import (
	"bytes"
	"image"
	"image/jpeg"
	"image/png"
	"net/http"

	"golang.org/x/image/draw"
	"golang.org/x/image/webp"
)

// Picture is a copy that pages can show.
type Picture struct {
	Type string // "image/jpeg" or "image/png"
	Body []byte
}

const (
	side      = 256     // of a copy
	maxSide   = 4096    // of what is copied
	maxPixels = 8 << 20 // of that: some formats take a dozen bytes for each while they are decoded
)

// format reads one kind of picture.
type format struct {
	config func(data *bytes.Reader) (image.Config, error)
	decode func(data *bytes.Reader) (image.Image, error)
}

// formatOf returns the format of a picture, nil if it is not a known one. It looks at the data alone: the server's word
// proves nothing.
func formatOf(data []byte) *format {
	switch http.DetectContentType(data) {
	case "image/jpeg":
		return &format{
			func(r *bytes.Reader) (image.Config, error) { return jpeg.DecodeConfig(r) },
			func(r *bytes.Reader) (image.Image, error) { return jpeg.Decode(r) },
		}
	case "image/png":
		return &format{
			func(r *bytes.Reader) (image.Config, error) { return png.DecodeConfig(r) },
			func(r *bytes.Reader) (image.Image, error) { return png.Decode(r) },
		}
	case "image/webp":
		return &format{
			func(r *bytes.Reader) (image.Config, error) { return webp.DecodeConfig(r) },
			func(r *bytes.Reader) (image.Image, error) { return webp.Decode(r) },
		}
	}
	return nil
}

// pictureOf makes a square copy of the middle of a picture. Only pixels are copied: no metadata, and nothing behind the
// end of the picture. The size is checked before memory is allocated for it. Errors: ErrNoPicture.
func pictureOf(data []byte) (Picture, error) {
	format := formatOf(data)
	if format == nil {
		return Picture{}, ErrNoPicture
	}
	config, err := format.config(bytes.NewReader(data))
	if err != nil || config.Width < 1 || config.Height < 1 || config.Width > maxSide || config.Height > maxSide ||
		config.Width*config.Height > maxPixels {
		return Picture{}, ErrNoPicture
	}
	whole, err := format.decode(bytes.NewReader(data))
	if err != nil {
		return Picture{}, ErrNoPicture
	}
	return encoded(small(whole))
}

// small returns the square in the middle of a picture, scaled down to the size of a copy if it is larger.
func small(whole image.Image) *image.NRGBA {
	bounds := whole.Bounds()
	edge := min(bounds.Dx(), bounds.Dy())
	from := image.Pt(bounds.Min.X+(bounds.Dx()-edge)/2, bounds.Min.Y+(bounds.Dy()-edge)/2)
	middle := image.Rectangle{Min: from, Max: from.Add(image.Pt(edge, edge))}
	copied := image.NewNRGBA(image.Rect(0, 0, min(edge, side), min(edge, side)))
	draw.CatmullRom.Scale(copied, copied.Bounds(), whole, middle, draw.Src, nil)
	return copied
}

// encoded returns a JPEG, or a PNG if the copy is transparent anywhere.
func encoded(copied *image.NRGBA) (Picture, error) {
	var body bytes.Buffer
	if !copied.Opaque() {
		if err := png.Encode(&body, copied); err != nil {
			return Picture{}, ErrNoPicture
		}
		return Picture{"image/png", body.Bytes()}, nil
	}
	if err := jpeg.Encode(&body, copied, &jpeg.Options{Quality: 85}); err != nil {
		return Picture{}, ErrNoPicture
	}
	return Picture{"image/jpeg", body.Bytes()}, nil
}
