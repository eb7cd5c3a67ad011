package routes

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
)

// asset is one file of the site's looks, with the address that changes when its content does.
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
		sum := sha256.Sum256(body)
		hash := hex.EncodeToString(sum[:8])
		assets[entry.Name()] = asset{body: body, hash: hash, url: "/static/" + entry.Name() + "?v=" + hash}
	}
	return assets, nil
}

// static answers with an asset. Only the address with the right hash may be cached for ever: during
// a deploy, an instance of the other version may be asked.
func (s *server) static(w http.ResponseWriter, r *http.Request) {
	name := chi.URLParam(r, "file")
	a, ok := s.assets[name]
	if !ok {
		s.fail(w, r, errNoPage)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=300")
	if r.URL.RawQuery == "v="+a.hash {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	w.Header().Set("ETag", `"`+a.hash+`"`)
	r.Header.Del("Range") // an asset is small: thousands of ranges of one byte would make it large
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(a.body))
}
