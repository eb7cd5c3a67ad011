package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/oauth2"
)

// maxBody is of an answer, after decompression; a page of activities takes some 100 KB.
const maxBody = 1 << 20

// caller makes the calls to one provider.
type caller struct {
	provider *Provider
	client   *http.Client
	heard    func(provider, call, result string, took time.Duration) // may be nil
	gate     gate                                                    // nil: none
	// pool is where the budget is; nil: an operator's call by hand.
	pool   *pgxpool.Pool
	limits Limits
}

// observe tells of a call that is over.
func (c *caller) observe(call string, began time.Time, err error) {
	if c.heard != nil {
		c.heard(c.provider.Key, call, resultOf(err), time.Since(began))
	}
}

func resultOf(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrRefused):
		return "refused"
	case errors.Is(err, ErrNotPermitted):
		return "not_permitted"
	case errors.Is(err, ErrRateLimited):
		return "rate_limited"
	}
	return "unavailable"
}

// newClient returns the client for all providers. A redirect is an answer like any other: following it could carry
// secrets to another host.
func newClient(call time.Duration) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 2*maxUnderWay, maxUnderWay/2
	// Without pings a line that died would be tried again and again: HTTP/2 keeps one for all calls.
	transport.HTTP2 = &http.HTTP2Config{SendPingTimeout: call, PingTimeout: call / 2}
	return &http.Client{
		Timeout:       call,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     boundedBodies{transport},
	}
}

// boundedBodies fails the reading of an answer past maxBody.
type boundedBodies struct{ http.RoundTripper }

func (b boundedBodies) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxBody)
	}
	return resp, err
}

// exchange redeems a code. It is sent exactly once.
func (c *caller) exchange(ctx context.Context, code, verifier string) (t *oauth2.Token, err error) {
	var options []oauth2.AuthCodeOption
	if c.provider.PKCE {
		options = append(options, oauth2.VerifierOption(verifier))
	}
	err = c.limited(ctx, "exchange", room, func() (header http.Header, err error) {
		t, err = c.provider.Config.Exchange(c.with(ctx), code, options...)
		header = headerOf(err)
		t, err = c.token("exchange", t, err)
		return header, err
	})
	return t, err
}

// refresh asks for a new pair of tokens. The answer must be stored before it is used.
func (c *caller) refresh(ctx context.Context, refreshToken string) (t *oauth2.Token, err error) {
	err = c.limited(ctx, "refresh", nothing, func() (header http.Header, err error) {
		t, err = c.provider.Config.TokenSource(c.with(ctx), &oauth2.Token{RefreshToken: refreshToken}).Token()
		header = headerOf(err)
		t, err = c.token("refresh", t, err)
		return header, err
	})
	return t, err
}

// headerOf is the header of a token address's refusal; x/oauth2 shows no other.
func headerOf(err error) http.Header {
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok || refused.Response == nil {
		return nil
	}
	return refused.Response.Header
}

func (c *caller) with(ctx context.Context) context.Context {
	client := *c.client
	client.Transport = tokenAnswers{client.Transport}
	return context.WithValue(ctx, oauth2.HTTPClient, &client)
}

// token checks a token answer and gives it an end where the provider should have named one.
func (c *caller) token(call string, t *oauth2.Token, err error) (*oauth2.Token, error) {
	if err != nil {
		return nil, c.tokenError(call, err)
	}
	if !printable(t.AccessToken) || !printable(t.RefreshToken) {
		return nil, c.fail(call, ErrUnavailable, 0, "token_charset")
	}
	if t.Expiry.IsZero() && c.provider.AssumedLife > 0 {
		t.Expiry = time.Now().Add(c.provider.AssumedLife)
	}
	return t, nil
}

// tokenError tells the definite refusals of a token address from its bad days. Strava has no "error" field: there the
// resource that it names decides (providers differ in the texts, which are not looked at).
func (c *caller) tokenError(call string, err error) error {
	if _, ok := errors.AsType[*url.Error](err); ok {
		return c.fail(call, ErrUnavailable, 0, "")
	}
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok || refused.Response == nil { // an answer, but not one with tokens
		return c.fail(call, ErrUnavailable, http.StatusOK, "")
	}
	status := refused.Response.StatusCode
	code := knownCode(refused.ErrorCode)
	var strava struct {
		Errors []struct{ Resource, Field string }
	}
	if code == "" && json.Unmarshal(refused.Body, &strava) == nil && len(strava.Errors) > 0 {
		code = knownCode(strava.Errors[0].Resource)
	}
	switch {
	case status == http.StatusTooManyRequests:
		return c.fail(call, ErrRateLimited, status, code)
	case code == "invalid_grant", code == "RefreshToken", code == "RequestToken", code == "AuthorizationCode":
		return c.fail(call, ErrRefused, status, code)
	}
	return c.fail(call, ErrUnavailable, status, code)
}

// knownCode lets through only codes that the providers document, so that nothing else of an answer reaches a log.
func knownCode(code string) string {
	switch code {
	case "invalid_grant", "invalid_client", "invalid_request", "unauthorized_client",
		"unsupported_grant_type", "redirect_uri_mismatch",
		"RefreshToken", "RequestToken", "AuthorizationCode", "Application", "Athlete", "AccessToken",
		"invalid_auth", "param_error", "endpoint_error", "not_authorized", "rate_limit_exceeded",
		"quota_exceeded", "server_error", "deprecated":
		return code
	}
	return ""
}

// call sends a request to the provider's API and decodes a JSON answer into out. If out is nil, the
// answer must only not contradict success. An error carries the status: 401 is ErrRefused unless it
// is about a permission, and so is 403 where the provider means that by it. Every other failure may
// be temporary.
func (c *caller) call(ctx context.Context, name string, r *http.Request, out any) error {
	return c.limited(ctx, name, one, func() (http.Header, error) { return c.send(ctx, name, r, out) })
}

func (c *caller) send(ctx context.Context, name string, r *http.Request, out any) (http.Header, error) {
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "Cairn")
	resp, err := c.client.Do(r.WithContext(ctx))
	if err != nil {
		return nil, c.fail(name, ErrUnavailable, 0, "")
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	switch {
	case resp.StatusCode == http.StatusTooManyRequests:
		return resp.Header, c.fail(name, ErrRateLimited, resp.StatusCode, foursquareCode(body))
	case err != nil:
		return resp.Header, c.fail(name, ErrUnavailable, resp.StatusCode, "")
	case resp.StatusCode == http.StatusPreconditionFailed, lacksPermission(resp.StatusCode, body): // Garmin's, Strava's
		return resp.Header, c.fail(name, ErrNotPermitted, resp.StatusCode, "")
	case name == "data" && c.provider.pushes && slices.Contains(unfit, resp.StatusCode):
		return resp.Header, c.fail(name, ErrUnfit, resp.StatusCode, "")
	case resp.StatusCode == http.StatusUnauthorized,
		resp.StatusCode == http.StatusForbidden && c.provider.forbidsUnknown:
		return resp.Header, c.fail(name, ErrRefused, resp.StatusCode, "")
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return resp.Header, c.fail(name, ErrUnavailable, resp.StatusCode, foursquareCode(body))
	}
	if out == nil && !confirms(body) || out != nil && json.Unmarshal(body, out) != nil {
		return resp.Header, c.fail(name, ErrUnavailable, resp.StatusCode, "")
	}
	return resp.Header, nil
}

// unfit are Garmin's answers to a request for data that it has already served, or not meant for us (docs/providers.md,
// 3.5).
var unfit = []int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusGone}

// confirms tells whether the content of a success says nothing else. A web page, or an error with status 200, does.
func confirms(body []byte) bool {
	var answer struct {
		Error, ErrorMessage json.RawMessage
		Errors              []json.RawMessage
	}
	return len(body) == 0 || json.Unmarshal(body, &answer) == nil &&
		answer.Error == nil && answer.ErrorMessage == nil && len(answer.Errors) == 0
}

// lacksPermission distinguishes Strava's 401 for a scope that was not granted from its 401 for a
// bad token (docs/providers.md, 2.8).
func lacksPermission(status int, body []byte) bool {
	var answer struct {
		Errors []struct{ Resource, Code string }
	}
	return status == http.StatusUnauthorized && json.Unmarshal(body, &answer) == nil && len(answer.Errors) > 0 &&
		answer.Errors[0].Resource == "AccessToken" && answer.Errors[0].Code == "missing"
}

func (c *caller) fail(call string, kind error, status int, code string) error {
	if code == "rate_limit_exceeded" || code == "quota_exceeded" {
		kind = ErrRateLimited
	}
	return &Error{Provider: c.provider.Key, Call: call, Kind: kind, Status: status, Code: code}
}

// printable tells whether a token can stand in a header: visible ASCII, or empty.
func printable(token string) bool {
	return len(token) <= 8192 && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}
