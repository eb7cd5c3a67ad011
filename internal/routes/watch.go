package routes

import (
	"errors"
	"net/netip"
	"time"

	"cairn/internal/auth"
	"cairn/internal/oauth"
)

// Watch are functions that hear what happens. Those that are nil are not called.
type Watch struct {
	// Request hears of every answer. The route is a pattern, or "(none)" where there is none; the
	// status is 0 if the browser had left.
	Request func(method, route string, status int, took time.Duration)
	// SignIn hears how a sign-in ended. The method is "password" or the key of a provider, and the
	// result is "ok", "refused", "limited", "declined" or "failed".
	SignIn func(method, result string)
	// Untrusted hears of each request with X-Forwarded-For from a peer that is not in TrustedProxies.
	Untrusted func(peer netip.Addr)
}

// complete returns w with silence for what is nil.
func (w Watch) complete() Watch {
	if w.Request == nil {
		w.Request = func(string, string, int, time.Duration) {}
	}
	if w.SignIn == nil {
		w.SignIn = func(string, string) {}
	}
	if w.Untrusted == nil {
		w.Untrusted = func(netip.Addr) {}
	}
	return w
}

func signInResult(err error) string {
	_, limited := errors.AsType[*auth.LimitError](err)
	switch {
	case err == nil:
		return "ok"
	case limited:
		return "limited"
	case errors.Is(err, auth.ErrCredentials), errors.Is(err, oauth.ErrRefused):
		return "refused"
	case errors.Is(err, oauth.ErrDenied):
		return "declined"
	}
	return "failed"
}
