package routes

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"cairn/internal/session"
)

// clientIP finds the client's address: the peer's, unless the peer is a proxy that the operator trusts to name it.
func clientIP(trusted []netip.Prefix) func(http.Handler) http.Handler {
	if len(trusted) == 0 {
		return middleware.ClientIPFromRemoteAddr
	}
	prefixes := make([]string, len(trusted))
	for i, prefix := range trusted {
		prefixes[i] = prefix.String()
	}
	return middleware.ClientIPFromXFF(prefixes...)
}

// observeProxies reports peers that name a client and are not trusted to. If such a peer is a proxy of the operator's,
// all people behind it have its address.
func (s *server) observeProxies(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Forwarded-For") != "" {
			if peer, ok := peerOf(r); ok && !contain(s.TrustedProxies, peer) {
				s.Observer.Untrusted(peer)
			}
		}
		next.ServeHTTP(w, r)
	})
}

func address(r *http.Request) string {
	if ip := middleware.GetClientIP(r.Context()); ip != "" {
		return ip
	}
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	return host
}

// logged writes one line per request, and reports it. The path is the route's pattern, never the path that was
// requested: queries carry codes.
func (s *server) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		defer func() {
			took := time.Since(start)
			s.Log.LogAttrs(r.Context(), slog.LevelInfo, "request", logIDs(r.Context(),
				slog.String("method", method(r)), slog.String("route", pattern(r)), slog.Int("status", ww.Status()),
				slog.Float64("duration_ms", float64(took.Microseconds())/1000))...)
			s.Observer.Request(method(r), pattern(r), ww.Status(), took)
		}()
		next.ServeHTTP(ww, r)
	})
}

func pattern(r *http.Request) string {
	if p := chi.RouteContext(r.Context()).RoutePattern(); p != "" {
		return p
	}
	return "(none)"
}

func method(r *http.Request) string {
	known := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}
	if slices.Contains(known, r.Method) {
		return r.Method
	}
	return "(other)"
}

// recovered turns a panic into the page for our own failures. http.ErrAbortHandler closes a connection on purpose, so
// it is passed on.
func (s *server) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch v := recover(); v {
			case nil:
			case http.ErrAbortHandler:
				panic(v)
			default:
				s.Log.LogAttrs(r.Context(), slog.LevelError, "panic", logIDs(r.Context(),
					slog.String("value", fmt.Sprint(v)),
					slog.String("stack", string(debug.Stack())))...)
				s.writeBroken(w, r)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// bounded limits bodies while they are read, whatever length they claim, and refuses those that claim two. After a body
// in chunks, and in HTTP/1.0, which has none, a proxy in front may have read another length than net/http (RFC 9112,
// section 6.1). Such a connection is closed, so that nothing left on it counts as a request.
func (s *server) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TransferEncoding) > 0 || !r.ProtoAtLeast(1, 1) {
			w.Header().Set("Connection", "close")
			if framedTwice(r) {
				s.fail(w, r, errFraming)
				return
			}
		}
		limit := int64(maxBody)
		if isWebhook(r) {
			limit = maxWebhook
		}
		r.Body = http.MaxBytesReader(w, r.Body, limit)
		next.ServeHTTP(w, r)
	})
}

// knownHosts refuses, while the providers are simulated, requests to a host that isn't ours. Otherwise another site
// could point its name at this machine, and its pages could read the sandbox (DNS rebinding).
func (s *server) knownHosts(next http.Handler) http.Handler {
	if s.Sandbox == nil {
		return next
	}
	known := []string{s.PublicURL.Hostname(), hostname(s.Sandbox.Host), "localhost", "127.0.0.1", "::1"}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isHealth(r) && !slices.Contains(known, strings.ToLower(hostname(r.Host))) {
			s.fail(w, r, errOtherHost)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// oneSite keeps Cairn and the sandbox on their own hosts, so that browsers treat the sandbox like real providers.
func (s *server) oneSite(next http.Handler) http.Handler {
	if s.Sandbox == nil || hostname(s.Sandbox.Host) == s.PublicURL.Hostname() {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wanted := r.URL.Path == "/sandbox" || strings.HasPrefix(r.URL.Path, "/sandbox/")
		there := hostname(r.Host) == hostname(s.Sandbox.Host)
		switch isGet := r.Method == http.MethodGet; {
		case wanted && !there && isGet:
			s.move(w, r, &url.URL{Scheme: "http", Host: s.Sandbox.Host})
		case wanted && !there:
			s.fail(w, r, errNoPage)
		case !wanted && there && isGet && !isHealth(r):
			s.move(w, r, s.PublicURL)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// isHealth reports whether this is a probe of the operator's tools, which may not know our name.
func isHealth(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/health") || r.URL.Path == "/readyz"
}

func hostname(hostport string) string { return (&url.URL{Host: hostport}).Hostname() }

func (s *server) move(w http.ResponseWriter, r *http.Request, site *url.URL) {
	target := *r.URL
	target.Scheme, target.Host = site.Scheme, site.Host
	redirect(w, r, target.String())
}

// deadline limits all that a request waits for.
func deadline(d time.Duration) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), d)
			defer cancel()
			next.ServeHTTP(w, r.WithContext(ctx))
		})
	}
}

// mustSignIn sends visitors to the sign-in page, and from there back to the page they wanted. What was in a form is
// lost, so they land on the page it was on.
func mustSignIn(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := session.Current(r.Context()); ok {
			next.ServeHTTP(w, r)
			return
		}
		redirect(w, r, signInURL(pageOf(r)))
	})
}

func signInURL(next string) string {
	return "/login?" + url.Values{"next": {next}, "notice": {"sign-in"}}.Encode()
}

// pageOf is where a person returns after signing in: the page that was requested, or the one that the form was on.
func pageOf(r *http.Request) string {
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead || r.URL.Path == "/account/delete",
		r.URL.Path == newPasskeyPath, r.URL.Path == appPath, r.URL.Path == recoveryPath:
		return returnPath(r.URL.EscapedPath())
	case strings.HasPrefix(r.URL.Path, "/account"):
		return "/account"
	}
	return "/"
}

// sessionGone answers a request whose session was ended elsewhere while it ran.
func (s *server) sessionGone(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if strings.HasPrefix(r.URL.Path, "/api/auth/me") {
		writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "Authentication required"})
		return
	}
	redirect(w, r, signInURL(pageOf(r)))
}

// forPage reports whether a request asks for a page, so that it may bring a session of another server: not for data, a
// part of a page, or what a provider sends back.
func forPage(r *http.Request) bool {
	mode := r.Header.Get("Sec-Fetch-Mode")
	return r.Method == http.MethodGet && (mode == "" || mode == "navigate") &&
		!strings.HasPrefix(r.URL.Path, "/api/") && !r.URL.Query().Has("state")
}
