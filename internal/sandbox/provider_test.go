package sandbox_test

import (
	"net/http"
	"net/url"
	"testing"

	"cairn/internal/sandbox"
)

// An unknown provider is refused: a mistake in the code panics, and a URL leads nowhere.
func TestUnknownProvider(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]func(){
		"EndpointsOf": func() { sandbox.EndpointsOf("http://127.0.0.1/sandbox", "komoot") },
		"Calls":       func() { sandbox.Calls("komoot") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s does not panic", name)
				}
			}()
			call()
		}()
	}
	r := newRig(t)
	if err := r.SetSwitch(t.Context(), "komoot", sandbox.Quota, "1"); err == nil {
		t.Error("a switch was set")
	}
	for _, path := range []string{"/control/komoot/switches", "/elsewhere/komoot"} {
		if a := r.do(http.MethodPost, r.base+path, url.Values{}); a.status != http.StatusNotFound {
			t.Errorf("%s: status %d, want 404", path, a.status)
		}
	}
}
