package sandbox

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"
)

//go:embed assets
var assets embed.FS

// page is what every page's data embeds.
type page struct {
	Title    string
	Provider string // its name; "" on pages about all of them
	Root     string // path of the control page, without a slash at its end
}

// page is about one provider, or about all of them if key is "".
func (s *Sandbox) page(key, title string) page {
	p := page{Title: title, Root: s.path}
	if key != "" {
		p.Provider = providerOf(s, key).describe().name
	}
	return p
}

// parsePages reads all templates into one set: layout.html has the head and foot, every other file one page.
func parsePages() (*template.Template, error) {
	return template.New("").Funcs(template.FuncMap{
		"when": func(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04 UTC") },
		"join": strings.Join,
	}).ParseFS(assets, "assets/*.html")
}

// render sends a page. Its forms may lead to formTarget, an origin, beside our own.
func (s *Sandbox) render(w http.ResponseWriter, status int, name, formTarget string, data any) error {
	var body bytes.Buffer
	if err := s.pages.ExecuteTemplate(&body, name, data); err != nil {
		return fmt.Errorf("sandbox: render %s: %w", name, err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", strings.TrimSpace("default-src 'none'; style-src 'self'; img-src 'self'; "+
		"base-uri 'none'; frame-ancestors 'none'; form-action 'self' "+formTarget))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Robots-Tag", "noindex")
	h.Set("Referrer-Policy", "same-origin") // the address of a consent page holds the state
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
	return nil
}

// asset serves a static file.
func (s *Sandbox) asset(name string) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "no-cache")
		http.ServeFileFS(w, r, assets, "assets/"+name)
		return nil
	}
}

func (s *Sandbox) notFound(w http.ResponseWriter, _ *http.Request) error {
	return s.render(w, http.StatusNotFound, "refusal", "", refusalPage{s.page("", "There is nothing here"),
		"The sandbox simulates only what Cairn needs of its providers, and only those that have no real keys."})
}
