package routes

import (
	"fmt"
	"net/http"

	"github.com/klauspost/compress/gzhttp"
)

// compression is for the answers that are worth it: pages, stylesheets, scripts, drawings and JSON.
//
// A page that is compressed together with what a stranger had the browser send can give away, by its length, what else
// is on it (BREACH). docs/security.md says why ours don't. Padding by a random length is there all the same.
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
