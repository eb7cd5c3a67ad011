package soak

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"time"
)

// front stands in front of the simulated providers. It can delay requests for tokens, and reports their progress.
type front struct {
	http.Handler
	mu    sync.Mutex
	trips map[string]*trip // by provider
}

// trip says how requests for tokens travel. Each request sends to the channels.
type trip struct {
	grant       string // "authorization_code" or "refresh_token"; other requests pass at once
	there, back leg    // for a request and for its answer

	came chan struct{} // the request has left
	done chan struct{} // the provider has carried it out: the code or refresh token is spent, and the answer has left
	sent chan struct{} // the answer has arrived
	over chan struct{} // nothing more will happen, whether it was carried out or lost
}

// leg waits until a request or answer may arrive, or until its sender has gone; nil: no wait.
type leg func(sender context.Context)

// takes returns a leg that takes the time d.
func takes(d time.Duration) leg {
	return func(sender context.Context) {
		select {
		case <-time.After(d):
		case <-sender.Done():
		}
	}
}

// until returns a leg that ends when c is closed.
func until(c <-chan struct{}) leg {
	return func(sender context.Context) {
		select {
		case <-c:
		case <-sender.Done():
		}
	}
}

func (l leg) travel(sender context.Context) (arrived bool) {
	if l != nil {
		l(sender)
	}
	return sender.Err() == nil
}

// next sets how requests to a provider travel from now on.
func (f *front) next(provider, grant string, there, back leg) *trip {
	made := func() chan struct{} { return make(chan struct{}, 1000) }
	t := &trip{grant: grant, there: there, back: back, came: made(), done: made(), sent: made(), over: made()}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.trips == nil {
		f.trips = map[string]*trip{}
	}
	f.trips[provider] = t
	return t
}

// tripOf returns the trip of a request, or nil if it passes at once.
func (f *front) tripOf(r *http.Request, body []byte) *trip {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for provider, t := range f.trips {
		if strings.Contains(r.URL.Path, "/"+provider+"/") && form.Get("grant_type") == t.grant {
			return t
		}
	}
	return nil
}

// ServeHTTP loses a request whose sender dies before it arrives. A request that has arrived is carried out.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	t := f.tripOf(r, body)
	if t == nil {
		f.Handler.ServeHTTP(w, r)
		return
	}
	defer func() { t.over <- struct{}{} }()
	t.came <- struct{}{}
	if !t.there.travel(r.Context()) {
		return
	}
	answer := httptest.NewRecorder()
	f.Handler.ServeHTTP(answer, r.WithContext(context.WithoutCancel(r.Context())))
	t.done <- struct{}{}
	if !t.back.travel(r.Context()) {
		return
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
	_ = http.NewResponseController(w).Flush()
	t.sent <- struct{}{}
}

// straight sends a visitor's requests to one server, bypassing the balancer.
type straight struct {
	*fleet
	to    int
	wires http.RoundTripper
}

func (s straight) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme+"://"+r.URL.Host == s.url {
		r = r.Clone(r.Context())
		r.Host, r.URL.Host = r.URL.Host, s.balancer.backends[s.to].url.Host
	}
	return s.wires.RoundTrip(r)
}

// at returns the same browser with its requests going to one server.
func (v *visitor) at(f *fleet, instance int) *visitor {
	there := *v
	there.wires = straight{f, instance, v.wires}
	there.Transport = counting{there.site, v.Transport.(counting).address}
	return &there
}
