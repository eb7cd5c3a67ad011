package routes

import (
	"errors"
	"net/netip"
	"time"

	"cairn/internal/access"
	"cairn/internal/auth"
	"cairn/internal/oauth"
)

// Observer has functions that are called when something happens, for the operator's metrics. Each may be nil.
type Observer struct {
	// Request is called after every request. The route is a pattern, or "(none)" where there is none; the status is 0
	// if the browser had left.
	Request func(method, route string, status int, took time.Duration)
	// SignIn is called after every sign-in. The method is "password", "passkey" or the key of a provider, and the
	// result is "ok", "refused", "limited", "declined" or "failed".
	SignIn func(method, result string)
	// Untrusted is called for each request with X-Forwarded-For from a peer that is not in TrustedProxies.
	Untrusted func(peer netip.Addr)
}

// withDefaults returns o with functions that do nothing instead of nil.
func (o Observer) withDefaults() Observer {
	if o.Request == nil {
		o.Request = func(string, string, int, time.Duration) {}
	}
	if o.SignIn == nil {
		o.SignIn = func(string, string) {}
	}
	if o.Untrusted == nil {
		o.Untrusted = func(netip.Addr) {}
	}
	return o
}

func signInResult(err error) string {
	_, limited := errors.AsType[*auth.LimitError](err)
	_, waiting := errors.AsType[*access.CodeNeeded](err)
	switch {
	case err == nil:
		return "ok"
	case limited:
		return "limited"
	case waiting:
		return "code_asked"
	case errors.Is(err, auth.ErrCredentials), errors.Is(err, auth.ErrUnconfirmed), errors.Is(err, auth.ErrDisabled),
		errors.Is(err, auth.ErrUninvited), errors.Is(err, oauth.ErrRefused),
		errors.Is(err, auth.ErrPasskey), errors.Is(err, auth.ErrChallenge), errors.Is(err, auth.ErrCode),
		errors.Is(err, auth.ErrNeedsCode):
		return "refused"
	case errors.Is(err, oauth.ErrDenied):
		return "declined"
	}
	return "failed"
}
