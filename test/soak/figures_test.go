package soak

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// figures are what visitors of a site saw together.
type figures struct {
	mu       sync.Mutex
	began    time.Time
	took     []time.Duration // one a request that was answered
	failures []string        // requests without an answer, or refused
	done     map[string]int  // what people did, and what was broken
	broken   []string
}

func newFigures() *figures { return &figures{began: time.Now(), done: map[string]int{}} }

// did counts something that a person did, by whether it worked.
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

// quantile returns the time within which the part q of the answers came.
func (f *figures) quantile(q float64) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(f.took))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)].Round(10 * time.Microsecond)
}

func (f *figures) String() string {
	p50, p99, most := f.quantile(0.5), f.quantile(0.99), f.quantile(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	var done []string
	for _, what := range slices.SortedFunc(maps.Keys(f.done), cmp.Compare) {
		done = append(done, fmt.Sprintf("%d %s", f.done[what], what))
	}
	return fmt.Sprintf("%d requests in %v, p50 %v, p99 %v, slowest %v; %d failed; %s",
		len(f.took)+len(f.failures), time.Since(f.began).Round(time.Second), p50, p99, most,
		len(f.failures), strings.Join(done, ", "))
}

// some shortens a list for a message.
func some(all []string) string { return strings.Join(all[:min(len(all), 20)], "\n") }

// counting counts the answers of a site, which asks each visitor's address of it. Other sites it only reaches.
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
