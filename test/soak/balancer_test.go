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

// balancer spreads requests over the backends that are ready, one after the other. It sends a
// request once: if a backend drops it, the client sees 502, with a header that distinguishes it
// from a backend's own answer.
type balancer struct {
	backends []*backend
	turn     atomic.Uint64
}

// backend is an instance as its balancer sees it.
type backend struct {
	url   *url.URL
	ready atomic.Bool
	proxy *httputil.ReverseProxy
}

// noAnswer is a header on the balancer's own answers.
const noAnswer = "No-Answer"

// probeEvery is how often readiness is asked for; a SHUTDOWN_DELAY below it would be noticed.
const probeEvery = 50 * time.Millisecond

// newBalancer watches and serves backends until the test ends.
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

// newProxy leaves X-Forwarded-For as it comes: the visitors of a test say in it where they are.
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

// once keeps http.Transport from sending a GET again when a kept connection dies under it. The
// transport does so only with requests that have no body; this one's body is empty, which the
// transport can't know.
type once struct{ http.RoundTripper }

func (o once) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet {
		r = r.Clone(r.Context())
		r.Body, r.GetBody = io.NopCloser(strings.NewReader("")), nil
	}
	return o.RoundTripper.RoundTrip(r)
}

// The figures below are worth nothing if the balancer asks twice: here a backend hangs up on every request on a kept
// connection, and the client has to see it.
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
		resp, err := http.DefaultClient.Do(r)
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
