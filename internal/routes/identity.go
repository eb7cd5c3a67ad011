package routes

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"cairn/internal/auth"
	"cairn/internal/connection"
)

type idsKey struct{}

// ids name a request in the log.
type ids struct {
	request string // ours
	trace   string // of the trace that a trusted proxy began; "": there is none
}

// identified gives each request an id of ours. One that a client sends is ignored: it would let strangers write into
// the log.
func (s *server) identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := ids{request: strings.ToLower(rand.Text()[:12]), trace: traceID(r, s.TrustedProxies)}
		ctx := connection.WithReference(context.WithValue(r.Context(), idsKey{}, id), id.request)
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// withOrigin adds where a request comes from, for what its account's owner is told.
func withOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := auth.Origin{Address: address(r), UserAgent: r.UserAgent()}
		next.ServeHTTP(w, r.WithContext(auth.WithOrigin(r.Context(), origin)))
	})
}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(idsKey{}).(ids)
	return id.request
}

// logIDs returns the attributes that every line about a request begins with, followed by more.
func logIDs(ctx context.Context, more ...slog.Attr) []slog.Attr {
	id, _ := ctx.Value(idsKey{}).(ids)
	attrs := make([]slog.Attr, 0, 8)
	attrs = append(attrs, slog.String("id", id.request))
	if id.trace != "" {
		attrs = append(attrs, slog.String("trace_id", id.trace))
	}
	return append(attrs, more...)
}

// traceparent is the header of W3C Trace Context. Versions after 00 may have more, after a hyphen.
var traceparent = regexp.MustCompile(`^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$`)

// traceID returns the id of the trace that a request belongs to, if a trusted proxy sent a valid one.
func traceID(r *http.Request, trusted []netip.Prefix) string {
	header := r.Header["Traceparent"]
	if len(header) != 1 {
		return ""
	}
	if peer, ok := peerOf(r); !ok || !contain(trusted, peer) {
		return ""
	}
	parts := traceparent.FindStringSubmatch(header[0])
	switch {
	case parts == nil, parts[1] == "ff", parts[1] == "00" && parts[4] != "",
		parts[2] == strings.Repeat("0", 32), parts[3] == strings.Repeat("0", 16):
		return ""
	}
	return parts[2]
}

// peerOf returns the address of the other end of the connection. It is not known on a Unix socket.
func peerOf(r *http.Request) (peer netip.Addr, ok bool) {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	return at.Addr().Unmap().WithZone(""), err == nil
}

func contain(networks []netip.Prefix, peer netip.Addr) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(peer) })
}
