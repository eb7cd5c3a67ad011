package soak

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cairn/internal/testkit"
)

// balancer sends requests to the backends that are ready, in turn. It sends each request once: if a backend drops it,
// the client gets a 502 with a header that distinguishes it from a backend's own answer.
type balancer struct {
	backends []*backend
	turn     atomic.Uint64
}

// backend is a server behind the balancer.
type backend struct {
	url   *url.URL
	ready atomic.Bool
	proxy *httputil.ReverseProxy
}

// noAnswer is a header that only the balancer's own answers have.
const noAnswer = "No-Answer"

// probeEvery is how often the balancer checks readiness. A SHUTDOWN_DELAY below it would fail requests.
const probeEvery = 50 * time.Millisecond

// newBalancer returns a balancer that watches its backends until the test ends.
func newBalancer(t *testing.T, addresses ...string) *balancer {
	t.Helper()
	b := &balancer{}
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	var watching sync.WaitGroup
	for _, address := range addresses {
		target, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		back := &backend{url: target, proxy: newProxy(target, transport)}
		b.backends = append(b.backends, back)
		watching.Go(func() { back.watch(t.Context()) })
	}
	t.Cleanup(func() { watching.Wait(); transport.CloseIdleConnections() })
	return b
}

// newProxy returns a proxy that passes on X-Forwarded-For, in which visitors of a test give their addresses.
func newProxy(target *url.URL, transport http.RoundTripper) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Transport: once{transport},
		ErrorLog:  log.New(io.Discard, "", 0), // clients count what went wrong
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			w.Header().Set(noAnswer, err.Error())
			w.WriteHeader(http.StatusBadGateway)
		},
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Host = p.In.Host
			p.Out.Header["X-Forwarded-For"] = p.In.Header["X-Forwarded-For"]
		},
	}
}

func (b *balancer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for range b.backends {
		if next := b.backends[b.turn.Add(1)%uint64(len(b.backends))]; next.ready.Load() {
			next.proxy.ServeHTTP(w, r)
			return
		}
	}
	w.Header().Set(noAnswer, "no backend is ready")
	w.WriteHeader(http.StatusServiceUnavailable)
}

func (b *backend) watch(ctx context.Context) {
	client := &http.Client{Timeout: testkit.Patience, Transport: &http.Transport{DisableKeepAlives: true}}
	for tick := time.Tick(probeEvery); ctx.Err() == nil; {
		b.ready.Store(b.probe(ctx, client))
		select {
		case <-ctx.Done():
		case <-tick:
		}
	}
}

func (b *backend) probe(ctx context.Context, client *http.Client) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url.String()+"/readyz", http.NoBody)
	if err != nil {
		return false
	}
	resp, err := client.Do(r)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// once keeps http.Transport from repeating a GET when a kept connection is closed. The transport only repeats requests
// without a body, so once adds a body, which is empty.
type once struct{ http.RoundTripper }

func (o once) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet {
		r = r.Clone(r.Context())
		r.Body, r.GetBody = io.NopCloser(strings.NewReader("")), nil
	}
	return o.RoundTripper.RoundTrip(r)
}

// A balancer that repeated requests would hide failures. Here a backend drops every request on a kept connection, and
// the client has to notice.
func TestBalancerSendsRequestsOnce(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	kept := map[string]bool{}
	var mu sync.Mutex
	dropping := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			return
		}
		asked.Add(1)
		mu.Lock()
		defer mu.Unlock()
		if kept[r.RemoteAddr] {
			panic(http.ErrAbortHandler)
		}
		kept[r.RemoteAddr] = true
	}))
	t.Cleanup(dropping.Close)
	b := newBalancer(t, dropping.URL)
	testkit.Eventually(t, "the backend is ready", b.backends[0].ready.Load)
	front := httptest.NewServer(b)
	t.Cleanup(front.Close)
	for i, want := range []int{http.StatusOK, http.StatusBadGateway} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, front.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := front.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		dropped := resp.Header.Get(noAnswer) != ""
		if resp.StatusCode != want || dropped != (want == http.StatusBadGateway) || asked.Load() != int64(i+1) {
			t.Errorf("answer %d is %s after the backend was asked %d times", i+1, resp.Status, asked.Load())
		}
	}
}
