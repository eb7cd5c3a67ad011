package sandbox

import (
	"crypto/subtle"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// numbers reads whole numbers from a query and remembers the first that is bad.
type numbers struct {
	query url.Values
	bad   string // its name
}

// get returns the number, or none if the query does not have it.
func (n *numbers) get(name string, none, least, most int64) int64 {
	if !n.query.Has(name) {
		return none
	}
	v, err := strconv.ParseInt(n.query.Get(name), 10, 64)
	if (err != nil || v < least || v > most) && n.bad == "" {
		n.bad = name
	}
	return v
}

// cut returns up to limit items of the list from offset on.
func cut(items []object, offset, limit int64) []object {
	offset = min(offset, int64(len(items)))
	return items[offset:min(offset+limit, int64(len(items)))]
}

// bearerOf returns the token in the Authorization header, or "".
func bearerOf(r *http.Request) string {
	text, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !found {
		return ""
	}
	return text
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
