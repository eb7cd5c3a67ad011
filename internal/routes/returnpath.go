package routes

import (
	"net/url"
	"strings"
	"unicode"
)

// returnPath returns where to send a person who has signed in: path if it stays on this site, "/"
// otherwise. Browsers drop tabs and turn backslashes into slashes, so path must contain neither,
// not even escaped.
func returnPath(path string) string {
	u, err := url.Parse(path)
	unescaped, escapeErr := url.PathUnescape(path)
	if err != nil || escapeErr != nil || len(path) > 500 || u.Scheme != "" || u.Host != "" || u.User != nil ||
		!safePath(path) || !safePath(unescaped) {
		return "/"
	}
	return path
}

// unlessHome is a return path for a form: "" for home, where people go if a form doesn't say.
func unlessHome(path string) string {
	if path == "/" {
		return ""
	}
	return path
}

func safePath(path string) bool {
	forbidden := func(r rune) bool { return r == '\\' || unicode.IsControl(r) || r == unicode.ReplacementChar }
	return strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "//") && !strings.ContainsFunc(path, forbidden)
}
