package routes

import (
	"net/url"
	"strings"
	"testing"
)

// What passes must resolve to our own host for every reader of URLs. Browsers drop tabs and line breaks and read
// backslashes as slashes (WHATWG URL, section 4.4), so the check is made on the path as they would see it.
func FuzzReturnPath(f *testing.F) {
	for _, seed := range []string{
		"/", "/account", "/account?x=1#y", "//evil.example", "/\\evil", "/\t/evil", "/%09/evil",
		"https://evil.example", "/a//b", "", "/%5c%5cevil",
	} {
		f.Add(seed)
	}
	site, _ := url.Parse("https://cairn.example.org/login")
	f.Fuzz(func(t *testing.T, path string) {
		got := returnPath(path)
		if got != "/" && got != path {
			t.Fatalf("%q became %q", path, got)
		}
		seen := strings.NewReplacer("\t", "", "\r", "", "\n", "", "\\", "/").Replace(got)
		target, err := site.Parse(seen)
		if err != nil || target.Host != site.Host || target.Scheme != "https" ||
			!strings.HasPrefix(seen, "/") || strings.HasPrefix(seen, "//") {
			t.Errorf("%q leads to %v", path, target)
		}
		unescaped, err := url.PathUnescape(got)
		if err != nil || strings.HasPrefix(unescaped, "//") || strings.ContainsAny(unescaped, "\\\t\r\n") {
			t.Errorf("%q is %q when it is unescaped once more", path, unescaped)
		}
	})
}

func TestReturnPathKeepsOurOwn(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/", "/account", "/account?tab=1", "/a/b-c_d", "/caf%C3%A9"} {
		if got := returnPath(path); got != path {
			t.Errorf("%q became %q", path, got)
		}
	}
}
