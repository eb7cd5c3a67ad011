package routes_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// wire records the secrets in requests to the providers and in their answers.
type wire struct {
	mu      sync.Mutex
	secrets map[string]bool
}

// secretFields are the names under which secrets travel, in queries, forms and answers.
var secretFields = []string{
	"code", "state", "code_verifier", "client_secret", "token", "access_token", "refresh_token", "oauth_token",
}

func (w *wire) hear(sandbox http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		said := &overheard{ResponseWriter: rw}
		defer func() { // also when the connection is aborted
			for _, name := range secretFields {
				w.keep(r.Form.Get(name), r.URL.Query().Get(name), said.field(name))
			}
			_, password, _ := r.BasicAuth()
			w.keep(password, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		}()
		sandbox.ServeHTTP(said, r)
	})
}

func (w *wire) keep(secrets ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, secret := range secrets {
		if len(secret) >= 8 {
			w.secrets[secret] = true
		}
	}
}

func (w *wire) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.secrets)
}

// found returns the secrets in a text.
func (w *wire) found(text string) (found []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for secret := range w.secrets {
		if strings.Contains(text, secret) {
			found = append(found, secret)
		}
	}
	return found
}

// overheard keeps the beginning of an answer.
type overheard struct {
	http.ResponseWriter
	start bytes.Buffer
}

func (o *overheard) Unwrap() http.ResponseWriter { return o.ResponseWriter }

func (o *overheard) Write(b []byte) (int, error) {
	o.start.Write(b[:min(len(b), max(0, 8192-o.start.Len()))])
	return o.ResponseWriter.Write(b)
}

func (o *overheard) field(name string) string {
	var fields map[string]any
	if json.Unmarshal(o.start.Bytes(), &fields) != nil {
		return ""
	}
	text, _ := fields[name].(string)
	return text
}

// reader keeps the text of all pages that a browser is shown by us.
type reader struct {
	*http.Transport
	pages strings.Builder
}

func (r *reader) RoundTrip(request *http.Request) (*http.Response, error) {
	resp, err := r.Transport.RoundTrip(request)
	if err != nil || request.URL.Hostname() != "localhost" {
		return resp, err
	}
	page, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(page))
	r.pages.Write(page)
	return resp, err
}

// mark makes the goroutines that this one begins from now on, and those that they begin, countable under a name.
func mark(ctx context.Context, name string) {
	pprof.SetGoroutineLabels(pprof.WithLabels(ctx, pprof.Labels("matrix", name)))
}

// stacks are the goroutines with the same stack in a profile: their number and, if they have any, their labels.
var stacks = regexp.MustCompile(`(?m)^(\d+) @ .*\n# labels: (.*)$`)

// marked counts the goroutines that began under a name.
func marked(t *testing.T, name string) (n int) {
	t.Helper()
	var profile strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		t.Fatal(err)
	}
	for _, stack := range stacks.FindAllStringSubmatch(profile.String(), -1) {
		if strings.Contains(stack[2], strconv.Quote(name)) {
			alike, err := strconv.Atoi(stack[1])
			if err != nil {
				t.Fatal(err)
			}
			n += alike
		}
	}
	return n
}
