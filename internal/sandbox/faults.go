package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	slowFor  = 15 * time.Second // by default
	hangFor  = 10 * time.Minute // for clients without a timeout
	hugeSize = 10 << 20
)

// tokenCall counts a request to a token endpoint and handles it, or lets it fail.
func (s *Sandbox) tokenCall(key string, next handler) handler {
	calls := map[string]string{"authorization_code": Exchange, "refresh_token": Refresh}
	return func(w http.ResponseWriter, r *http.Request) error {
		r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
		if err := r.ParseForm(); err != nil {
			return writeJSON(w, http.StatusBadRequest, providerOf(s, key).failure(Exchange, http.StatusBadRequest))
		}
		call, known := calls[r.Form.Get("grant_type")]
		if !known {
			call = Exchange
		}
		if err := s.recordRequest(r.Context(), key, call); err != nil {
			return err
		}
		return s.orFail(key, call, next)(w, r)
	}
}

// apiCall counts a call, for tests and for the quotas, and handles it, or lets it fail, or refuses it over the quota.
func (s *Sandbox) apiCall(key, call string, next handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
		_ = r.ParseMultipartForm(64 << 10) // a form that cannot be read has no token in it
		if err := s.recordRequest(r.Context(), key, call); err != nil {
			return err
		}
		spent, err := providerOf(s, key).meter(w.Header(), r, call)
		if err != nil {
			return err
		}
		return s.orFail(key, call, func(w http.ResponseWriter, r *http.Request) error {
			if spent != nil {
				return spent(w)
			}
			return next(w, r)
		})(w, r)
	}
}

func (s *Sandbox) orFail(key, call string, next handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		mode, err := s.modeOf(r.Context(), key, call)
		if err != nil {
			return err
		}
		if mode == ModeSlow && !s.wait(r.Context(), s.limits.Slow) {
			return nil
		}
		if mode != ModeNone && mode != ModeSlow && !spoils(mode) {
			return s.fail(w, r, key, call, mode)
		}
		// The request is completed even if the client has gone, as at a real provider.
		uncancelled := r.WithContext(context.WithoutCancel(r.Context()))
		if spoils(mode) {
			return spoil(w, uncancelled, mode, next)
		}
		return next(w, uncancelled)
	}
}

// wait returns false if the client goes, or the sandbox closes, before the time is over.
func (s *Sandbox) wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
	case <-s.life.Done():
	case <-time.After(d):
		return true
	}
	return false
}

func (s *Sandbox) fail(w http.ResponseWriter, r *http.Request, key, call, mode string) error {
	switch mode {
	case ModeReset:
		hangUp()
	case ModeHang:
		s.wait(r.Context(), hangFor)
		hangUp()
	case ModeDrip:
		s.drip(w, r)
	case ModeEmpty:
		w.WriteHeader(http.StatusOK)
	case ModeHTML:
		writePage(w, http.StatusOK)
	case ModeHuge:
		w.Header().Set("Content-Type", "application/json")
		// Fails when the client hangs up early, as it should.
		_, _ = fmt.Fprintf(w, `{"padding":"%s"}`, bytes.Repeat([]byte("x"), hugeSize))
	case ModeInvalid:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"access_token":"0123456789abcdef","expires_in":216`))
	case "200":
		return writeJSON(w, http.StatusOK, providerOf(s, key).failure(call, http.StatusBadRequest))
	default:
		return s.failWith(w, r, key, call, mode)
	}
	return nil
}

// hangUp makes net/http cut the connection.
func hangUp() { panic(http.ErrAbortHandler) }

// failWith responds with the status that the mode begins with.
func (s *Sandbox) failWith(w http.ResponseWriter, r *http.Request, key, call, mode string) error {
	number, _, _ := strings.Cut(mode, " ")
	status, err := strconv.Atoi(number)
	if err != nil {
		return fmt.Errorf("sandbox: switch %s %s has the value %q, which is no mode", key, call, mode)
	}
	if mode == ModeRetryAfter || status == http.StatusServiceUnavailable {
		after, err := s.setting(r.Context(), key, RetryAfter)
		if err != nil {
			return err
		}
		w.Header().Set("Retry-After", after)
	}
	switch {
	case slices.Contains(redirects, mode):
		w.Header().Set("Location", s.elsewhere(key))
		w.WriteHeader(status)
		return nil
	case strings.HasSuffix(mode, " html"):
		writePage(w, status)
		return nil
	}
	return writeJSON(w, status, providerOf(s, key).failure(call, status))
}

func writePage(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte("<!doctype html><title>Back soon</title><h1>We are making things better</h1>"))
}

// drip writes the beginning of a response that never ends.
func (s *Sandbox) drip(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	out := http.NewResponseController(w)
	next := byte('{')
	for range int(hangFor / time.Second) {
		if _, err := w.Write([]byte{next}); err != nil {
			return
		}
		if out.Flush() != nil || !s.wait(r.Context(), time.Second) {
			return
		}
		next = ' '
	}
}

// elsewhere returns an address of the sandbox on another host: 127.0.0.1 and localhost are the same machine, but
// different hosts to a client.
func (s *Sandbox) elsewhere(key string) string {
	u, err := url.Parse(s.base)
	if err != nil {
		return "" // New has parsed it before
	}
	host := "localhost"
	if u.Hostname() == host {
		host = "127.0.0.1"
	}
	if u.Port() != "" {
		host = net.JoinHostPort(host, u.Port())
	}
	return u.Scheme + "://" + host + s.path + "/elsewhere/" + key
}

// atElsewhere counts requests that followed a redirect, and responds as if they had worked.
func (s *Sandbox) atElsewhere(w http.ResponseWriter, r *http.Request) error {
	key := r.PathValue("provider")
	if _, ok := s.simulated(key); !ok {
		return s.notFound(w, r)
	}
	if err := s.recordRequest(r.Context(), key, Elsewhere); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, object{
		"access_token":  "elsewhere",
		"refresh_token": "elsewhere",
		"token_type":    "Bearer",
		"expires_in":    21600,
		"id":            666,
		"userId":        "elsewhere",
		"response":      object{"user": object{"id": "666", "firstName": "Else"}},
	})
}
