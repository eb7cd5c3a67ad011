package soak

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cairn/internal/testkit"
)

// figures are what all visitors of a site did and saw.
type figures struct {
	mu       sync.Mutex
	began    time.Time
	took     []time.Duration // for each answered request
	failures []string        // requests that were refused or got no answer
	done     map[string]int  // how often people did what
	broken   []string        // what they could not do, and why
}

func newFigures() *figures { return &figures{began: time.Now(), done: map[string]int{}} }

// did counts something that a person did, or could not do because of err.
func (f *figures) did(what string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.done[what]++
		return
	}
	f.broken = append(f.broken, what+": "+err.Error())
}

func (f *figures) answered(r *http.Request, resp *http.Response, err error, took time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	since := time.Since(f.began).Round(time.Millisecond)
	switch {
	case err != nil:
		f.failures = append(f.failures, fmt.Sprintf("%v %s %s: %v", since, r.Method, r.URL.Path, err))
	case resp.StatusCode >= http.StatusBadRequest:
		f.failures = append(f.failures, fmt.Sprintf("%v %s %s: %s", since, r.Method, r.URL.Path, resp.Status))
	default:
		f.took = append(f.took, took)
	}
}

// quantile returns the time within which the share q of the answers came.
func (f *figures) quantile(q float64) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(f.took))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// row prints the row of docs/performance.md: what happened, requests, failed ones, sign-outs, connects, p50 and p99.
func (f *figures) row(t *testing.T, what, failed, signedOut, connects string) {
	t.Helper()
	testkit.Row(t, what, testkit.Cell("%d", len(f.took)+len(f.failures)), failed, signedOut, connects,
		milliseconds(f.quantile(0.5))+", "+milliseconds(f.quantile(0.99)))
}

// connects says how many connects were broken; "": there were none.
func (f *figures) connects() string {
	broken := len(slices.DeleteFunc(slices.Clone(f.broken), func(text string) bool {
		return !strings.HasPrefix(text, "connects: ")
	}))
	all := broken + f.done["connects"]
	if all == 0 {
		return ""
	}
	cell := testkit.Cell("%d of %d", broken, all)
	if n := f.done[duringReplacement]; n > 0 {
		cell += testkit.Cell(", %d of them during a replacement", n)
	}
	return cell
}

func milliseconds(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	if ms < 10 {
		return testkit.Cell("%.1f ms", ms)
	}
	return testkit.Cell("%.0f ms", ms)
}

// some returns the first entries of a list, for a message.
func some(all []string) string { return strings.Join(all[:min(len(all), 20)], "\n") }

// counting counts the answers of a site, to which it says the visitor's address. Requests to other sites pass
// uncounted.
type counting struct {
	site
	address string
}

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme+"://"+r.URL.Host != c.url {
		return c.wires.RoundTrip(r)
	}
	r = r.Clone(r.Context())
	r.Header.Set("X-Forwarded-For", c.address)
	begun := time.Now()
	resp, err := once{c.wires}.RoundTrip(r)
	c.figures.answered(r, resp, err, time.Since(begun))
	return resp, err
}
