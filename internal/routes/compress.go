package routes

import (
	"fmt"
	"net/http"

	"github.com/klauspost/compress/gzhttp"
)

// compression compresses pages, stylesheets, scripts, drawings and JSON.
//
// If a stranger can put text on a page, the length of the compressed page can give away what else is on it (BREACH).
// docs/security.md says why that does not work here. Answers are padded by a random length all the same.
func compression() (func(http.Handler) http.Handler, error) {
	wrap, err := gzhttp.NewWrapper(
		gzhttp.MinSize(1024),
		gzhttp.EnableZstd(false), // every browser takes gzip
		gzhttp.RandomJitter(32, 0, false),
		gzhttp.ContentTypes([]string{"text/html", "text/css", "text/javascript", "text/plain", "image/svg+xml",
			"application/json", "application/manifest+json"}),
	)
	if err != nil {
		return nil, fmt.Errorf("routes: compression: %w", err)
	}
	return func(next http.Handler) http.Handler { return wrap(next) }, nil
}
