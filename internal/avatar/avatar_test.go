package avatar

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func painted(width, height int, c color.Color) image.Image {
	picture := image.NewNRGBA(image.Rect(0, 0, width, height))
	for i := range width * height {
		picture.Set(i%width, i/width, c)
	}
	return picture
}

func pngOf(t testing.TB, width, height int, c color.Color) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, painted(width, height, c)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func jpegOf(t testing.TB, width, height int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, painted(width, height, color.White), nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// bomb returns a PNG that claims this size and contains almost nothing.
func bomb(width, height uint32) []byte {
	header := []byte("IHDR")
	header = binary.BigEndian.AppendUint32(header, width)
	header = binary.BigEndian.AppendUint32(header, height)
	header = append(header, 8, 6, 0, 0, 0)
	b := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d")
	return binary.BigEndian.AppendUint32(append(b, header...), crc32.ChecksumIEEE(header))
}

// webpPixel is a WebP of one pixel.
const webpPixel = "UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA"

const page = `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`

// A picture becomes a small copy. Anything else is refused.
func TestPictures(t *testing.T) {
	t.Parallel()
	webp, err := base64.StdEncoding.DecodeString(webpPixel)
	if err != nil {
		t.Fatal(err)
	}
	var animated bytes.Buffer
	if err := gif.Encode(&animated, painted(9, 9, color.White), nil); err != nil {
		t.Fatal(err)
	}
	red := color.NRGBA{200, 10, 10, 255}
	for name, tt := range map[string]struct {
		data  []byte
		want  string // a media type; "": none
		width int
	}{
		"PNG":                 {pngOf(t, 300, 300, red), "image/jpeg", 256},
		"transparent PNG":     {pngOf(t, 300, 300, color.NRGBA{200, 10, 10, 90}), "image/png", 256},
		"JPEG":                {jpegOf(t, 600, 400), "image/jpeg", 256},
		"WebP":                {webp, "image/jpeg", 1},
		"small":               {pngOf(t, 20, 40, red), "image/jpeg", 20},
		"a long strip":        {pngOf(t, 4096, 1, red), "image/jpeg", 1},
		"something behind it": {append(pngOf(t, 300, 300, red), page...), "image/jpeg", 256},
		"too wide":            {pngOf(t, 4097, 1, red), "", 0},
		"too high":            {pngOf(t, 1, 4097, red), "", 0},
		"a bomb":              {bomb(60_000, 60_000), "", 0},
		"a smaller bomb":      {bomb(4096, 4096), "", 0},
		"cut off":             {pngOf(t, 300, 300, red)[:200], "", 0},
		"JPEG, cut off":       {jpegOf(t, 300, 300)[:30], "", 0},
		"WebP, cut off":       {webp[:30], "", 0},
		"GIF":                 {animated.Bytes(), "", 0},
		"SVG":                 {[]byte(page), "", 0},
		"HTML":                {[]byte("<!doctype html><script>alert(1)</script>"), "", 0},
		"nothing":             {nil, "", 0},
	} {
		got, err := pictureOf(tt.data)
		if got.Type != tt.want || (tt.want == "") != errors.Is(err, ErrNoPicture) {
			t.Errorf("%s: %q, error %v, want %q", name, got.Type, err, tt.want)
			continue
		}
		if tt.want == "" {
			continue
		}
		config, _, err := image.DecodeConfig(bytes.NewReader(got.Body))
		if err != nil || config.Width != tt.width || config.Height != tt.width ||
			bytes.Contains(got.Body, []byte("alert")) {
			t.Errorf("%s: %d × %d (error %v), want a square of %d", name, config.Width, config.Height, err, tt.width)
		}
	}
}

// What a camera writes into a picture is not copied.
func TestNoMetadataSurvives(t *testing.T) {
	t.Parallel()
	secret := []byte("Exif\x00\x00 48.8566 N 2.3522 E")
	segment := append([]byte{0xff, 0xe1, 0, byte(len(secret) + 2)}, secret...)
	plain := jpegOf(t, 300, 300)
	got, err := pictureOf(append(append(bytes.Clone(plain[:2]), segment...), plain[2:]...))
	if err != nil || bytes.Contains(got.Body, []byte("48.8566")) || bytes.Contains(got.Body, []byte("Exif")) {
		t.Errorf("error %v, or the copy contains where the picture was taken", err)
	}
}

func FuzzPicture(f *testing.F) {
	f.Add(bomb(9, 9))
	webp, _ := base64.StdEncoding.DecodeString(webpPixel)
	f.Add(webp)
	f.Add(pngOf(f, 3, 3, color.Black))
	f.Add(jpegOf(f, 3, 3))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := pictureOf(data)
		if (err == nil) != (len(got.Body) > 0) || len(got.Body) > 1<<19 {
			t.Errorf("%d bytes, error %v", len(got.Body), err)
		}
	})
}

func TestAllowedAddresses(t *testing.T) {
	t.Parallel()
	f := New(Options{Simulated: "127.0.0.1:3001"})
	hosts := []string{"img.example.com", "*.example.net"}
	for address, want := range map[string]bool{
		"https://img.example.com/a.png":        true,
		"https://IMG.example.com:443/a.png":    true,
		"https://a.b.example.net/":             true,
		"http://127.0.0.1:3001/sandbox/a.png":  true,
		"http://img.example.com/a.png":         false,
		"https://img.example.com:8443/a.png":   false,
		"https://img.example.com.evil.org/":    false,
		"https://img.example.com@evil.org/":    false,
		"https://user@img.example.com/":        false,
		"https://example.net/":                 false,
		"https://notexample.net/":              false,
		"https://evil.org/":                    false,
		"http://127.0.0.1:3002/":               false,
		"https://127.0.0.1:3001/":              false,
		"http://localhost:3001/":               false,
		"file:///etc/passwd":                   false,
		"gopher://img.example.com/":            false,
		"https:img.example.com":                false,
		"":                                     false,
		"https://169.254.169.254/latest/meta-": false,
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.allowed(u, hosts); got != want {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
	}
	if u, _ := url.Parse("http://127.0.0.1:3001/"); New(Options{}).allowed(u, hosts) {
		t.Error("without simulated providers, this machine may be asked")
	}
}

// A name may lead anywhere, so the IP address is checked when the connection is made.
func TestNoConnectionToPrivateAddresses(t *testing.T) {
	t.Parallel()
	f := New(Options{})
	for _, private := range []string{
		"127.0.0.1:443", "127.9.9.9:443", "[::1]:443", "169.254.169.254:443", "10.0.0.1:443", "172.16.0.1:443",
		"192.168.1.1:443", "100.64.0.1:443", "0.0.0.0:443", "[::]:443", "[fe80::1%eth0]:443", "[fd00:ec2::254]:443",
		"[::ffff:127.0.0.1]:443", "[::ffff:169.254.169.254]:443", "[64:ff9b::7f00:1]:443", "[2002:7f00:1::]:443",
		"224.0.0.1:443", "255.255.255.255:443", "198.18.0.1:443", "[ff02::1]:443", "1.1.1.1:80", "nonsense",
	} {
		if err := f.control("tcp", private, nil); !errors.Is(err, errPrivate) {
			t.Errorf("%s may be connected to", private)
		}
	}
	for _, good := range []string{"1.1.1.1:443", "[2606:4700::1111]:443", "151.101.1.1:443"} {
		if err := f.control("tcp", good, nil); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}

// resolving returns a fetcher that resolves every name to one address.
func resolving(address netip.Addr) *Fetcher {
	f := New(Options{Timeout: time.Minute})
	dialer := &net.Dialer{Control: f.control}
	f.transport.DialContext = func(ctx context.Context, network, to string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(to)
		if err != nil {
			return nil, err
		}
		return dialer.DialContext(ctx, network, net.JoinHostPort(address.String(), port))
	}
	return f
}

func TestNamesThatLeadInside(t *testing.T) {
	t.Parallel()
	for _, inside := range []string{"127.0.0.1", "169.254.169.254", "::1"} {
		_, err := resolving(netip.MustParseAddr(inside)).
			Fetch(t.Context(), "https://img.example.com/a.png", []string{"img.example.com"})
		if !errors.Is(err, ErrNoPicture) {
			t.Errorf("a name that leads to %s: error %v", inside, err)
		}
	}
}

// A provider's host may answer anything.
func TestFetching(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	red := pngOf(t, 300, 300, color.NRGBA{200, 10, 10, 255})
	mux := http.NewServeMux()
	answer := func(path string, status int, kind string, body []byte) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Referer") != "" || r.Header.Get("Cookie") != "" {
				t.Error("the request has a Referer or a cookie")
			}
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			_, _ = w.Write(body)
		})
	}
	answer("/good", 200, "text/html", red)
	answer("/html", 200, "image/png", []byte("<!doctype html>"))
	answer("/svg", 200, "image/svg+xml", []byte(page))
	answer("/huge", 200, "image/png", append(bytes.Clone(red), make([]byte, maxBody)...))
	answer("/gone", 404, "image/png", red)
	answer("/broken", 503, "image/png", red)
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	for path, to := range map[string]string{
		"/moved": "/good", "/round": "/round", "/away": other.URL, "/inside": "http://169.254.169.254/latest/meta-data",
		"/local": "http://localhost/", "/secure": "https://127.0.0.1/", "/file": "file:///etc/passwd",
	} {
		mux.Handle(path, http.RedirectHandler(to, http.StatusFound))
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	for path, want := range map[string]string{
		"/good": "ok", "/moved": "ok", "/broken": "may pass", "/html": "unfit", "/svg": "unfit", "/huge": "unfit",
		"/endless": "unfit", "/gone": "unfit", "/round": "unfit", "/away": "unfit", "/inside": "unfit",
		"/local": "unfit", "/secure": "unfit", "/file": "unfit",
	} {
		got, err := New(Options{Timeout: time.Minute, Simulated: host}).Fetch(t.Context(), server.URL+path, nil)
		result := "may pass"
		switch {
		case err == nil && got.Type == "image/jpeg":
			result = "ok"
		case errors.Is(err, ErrNoPicture):
			result = "unfit"
		}
		if result != want {
			t.Errorf("%s: %s (error %v), want %s", path, result, err, want)
		}
	}
	_, err := New(Options{Timeout: 50 * time.Millisecond, Simulated: host}).Fetch(t.Context(), server.URL+"/slow", nil)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a host that does not answer: error %v", err)
	}
	if n := elsewhere.Load(); n > 0 {
		t.Errorf("a host that is not listed was asked %d times", n)
	}
}
