package routes

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"time"

	"github.com/go-chi/chi/v5"
)

// asset is a static file, with an address that changes when its content does.
type asset struct {
	body []byte
	hash string
	url  string
}

func readAssets(files fs.FS) (map[string]asset, error) {
	entries, err := fs.ReadDir(files, "static")
	if err != nil {
		return nil, fmt.Errorf("routes: list assets: %w", err)
	}
	assets := map[string]asset{}
	for _, entry := range entries {
		body, err := fs.ReadFile(files, "static/"+entry.Name())
		if err != nil {
			return nil, fmt.Errorf("routes: read asset: %w", err)
		}
		assets[entry.Name()] = newAsset(entry.Name(), body)
	}
	sheet := assets[stylesheet]
	assets[stylesheet] = newAsset(stylesheet, hashedURLs(sheet.body, assets))
	return assets, nil
}

const stylesheet = "cairn.css"

func newAsset(name string, body []byte) asset {
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:8])
	return asset{body: body, hash: hash, url: "/static/" + name + "?v=" + hash}
}

var cssURL = regexp.MustCompile(`url\(([a-z0-9.-]+)\)`)

// hashedURLs gives the stylesheet the addresses of the files it names, so that they are cached for ever too.
func hashedURLs(sheet []byte, assets map[string]asset) []byte {
	return cssURL.ReplaceAllFunc(sheet, func(match []byte) []byte {
		a, ok := assets[string(match[len("url("):len(match)-1])]
		if !ok {
			return match
		}
		return []byte("url(" + a.url + ")")
	})
}

// static serves an asset. Only the address with the right hash may be cached for ever: during a
// deploy, an instance of the other version may answer.
func (s *server) static(w http.ResponseWriter, r *http.Request) {
	s.serveAsset(w, r, chi.URLParam(r, "file"))
}

// atRoot serves the assets that browsers and crawlers look for at the root.
func (s *server) atRoot(r chi.Router) {
	for _, name := range []string{"favicon.ico", "robots.txt", "apple-touch-icon.png", "manifest.webmanifest"} {
		get(r, "/"+name, func(w http.ResponseWriter, r *http.Request) { s.serveAsset(w, r, name) })
	}
}

// assetTypes are content types that net/http does not know.
var assetTypes = map[string]string{
	".webmanifest": "application/manifest+json", ".woff2": "font/woff2", ".ico": "image/x-icon",
}

func (s *server) serveAsset(w http.ResponseWriter, r *http.Request, name string) {
	a, ok := s.Web.assets[name]
	if !ok {
		s.fail(w, r, errNoPage)
		return
	}
	if kind := assetTypes[path.Ext(name)]; kind != "" {
		w.Header().Set("Content-Type", kind)
	}
	w.Header().Set("Cache-Control", "public, max-age=300")
	if r.URL.RawQuery == "v="+a.hash {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	w.Header().Set("ETag", `W/"`+a.hash+`"`) // weak: it is for the compressed bytes too
	r.Header.Del("Range")                    // an asset is small: thousands of ranges of one byte would make it large
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(a.body))
}

func assetURL(assets map[string]asset, name string) (string, error) {
	a, ok := assets[name]
	if !ok {
		return "", fmt.Errorf("routes: no asset %q", name)
	}
	return a.url, nil
}

// sprite is an SVG file of symbols: <use> elements that show them, by their ids.
type sprite map[string]string

var symbolID = regexp.MustCompile(`<symbol id="([a-z0-9-]+)"`)

func newSprite(a asset) sprite {
	s := sprite{}
	for _, match := range symbolID.FindAllSubmatch(a.body, -1) {
		id := string(match[1])
		s[id] = `<use href="` + a.url + `#` + id + `"/>`
	}
	return s
}

// icon draws one symbol. The words beside it say what it means.
func (s sprite) icon(name string, size ...string) (template.HTML, error) {
	use, ok := s[name]
	if !ok {
		return "", fmt.Errorf("routes: no icon %q", name)
	}
	class := "i"
	if len(size) > 0 {
		class += " " + size[0]
	}
	return template.HTML(`<svg class="` + class + `" aria-hidden="true">` + use + `</svg>`), nil
}

// glyph draws a provider's own symbol, or the first letter of its name.
func (s sprite) glyph(key, name string) template.HTML {
	use, ok := s[key]
	if !ok {
		return template.HTML(template.HTMLEscapeString(string([]rune(name)[:1])))
	}
	return template.HTML(`<svg aria-hidden="true">` + use + `</svg>`)
}
