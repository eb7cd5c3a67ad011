package routes

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"cairn/internal/oauth"
)

// headers go on every answer, errors included; handlers may only make them stricter.
func (s *server) headers(next http.Handler) http.Handler {
	h := http.Header{}
	h.Set("Content-Security-Policy", contentSecurityPolicy(s.Providers))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin") // "no-referrer" would make browsers send "Origin: null" with our own forms
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if s.PublicURL.Scheme == "https" {
		h.Set("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		maps.Copy(w.Header(), h)
		next.ServeHTTP(w, r)
	})
}

// contentSecurityPolicy allows our own stylesheet, font, script and images and nothing else. form-action
// names the providers, because browsers apply it to the redirects that follow a form.
func contentSecurityPolicy(providers []*oauth.Provider) string {
	forms := []string{"'self'"}
	for _, p := range providers {
		for _, source := range p.AuthorizeSources() {
			if !slices.Contains(forms, source) {
				forms = append(forms, source)
			}
		}
	}
	return "default-src 'none'; " +
		"script-src 'self'; connect-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; " +
		"manifest-src 'self'; object-src 'none'; " +
		"base-uri 'none'; frame-ancestors 'none'; form-action " + strings.Join(forms, " ")
}
