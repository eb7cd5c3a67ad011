package oauth

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/oauth2"
)

// Client is our application, as providers know it. It makes calls and keeps attempts. Make it with NewClient.
type Client struct {
	pool       *pgxpool.Pool // nil: an operator's command makes calls, which count in no budget
	http       *http.Client
	semaphores sync.Map // of semaphore, by provider
	limits     Limits
	observe    func(provider, call, result string, took time.Duration) // may be nil
}

// Options are what a client may be given.
type Options struct {
	Limits
	// Observe, if it is not nil, is called after every call to a provider. call is as in Error.Call; result
	// is "ok", "refused", "not_permitted", "rate_limited" or "unavailable".
	Observe func(provider, call, result string, took time.Duration)
}

// NewClient returns a client whose attempts and budgets are in a database. Without one it can only make calls.
func NewClient(pool *pgxpool.Pool, o Options) *Client {
	limits := o.withDefaults()
	return &Client{pool: pool, http: newHTTPClient(limits.Call), limits: limits, observe: o.Observe}
}

// Limits returns the client's limits, with their defaults.
func (c *Client) Limits() Limits { return c.limits }

// At returns the caller for one provider.
func (c *Client) At(p *Provider) *Caller { return &Caller{p, c} }

// Caller makes the calls to one provider.
type Caller struct {
	*Provider
	client *Client
}

// observed reports a call that has ended.
func (c *Caller) observed(call string, began time.Time, err error) {
	if c.client.observe != nil {
		c.client.observe(c.Key, call, resultOf(err), time.Since(began))
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

// maxBody is the size of an answer, after decompression. A page of activities takes some 100 KB.
const maxBody = 1 << 20

// newHTTPClient returns the client for all providers. A redirect is an answer like any other: following it could carry
// secrets to another host.
func newHTTPClient(call time.Duration) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 2*maxUnderWay, maxUnderWay/2
	// HTTP/2 uses one connection for all calls. Without pings, they would go on using one that is dead.
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

// exchange exchanges a code for tokens. It sends the code exactly once.
func (c *Caller) exchange(ctx context.Context, code, verifier string) (t *oauth2.Token, err error) {
	var options []oauth2.AuthCodeOption
	if c.PKCE {
		options = append(options, oauth2.VerifierOption(verifier))
	}
	err = c.limited(ctx, "exchange", reservation, func() (header http.Header, err error) {
		t, err = c.Config.Exchange(c.with(ctx), code, options...)
		header = headerOf(err)
		t, err = c.token("exchange", t, err)
		return header, err
	})
	return t, err
}

// Refresh gets a new pair of tokens, which must be stored before it is used. Errors: *Error.
func (c *Caller) Refresh(ctx context.Context, refreshToken string) (t *oauth2.Token, err error) {
	err = c.limited(ctx, "refresh", free, func() (header http.Header, err error) {
		t, err = c.Config.TokenSource(c.with(ctx), &oauth2.Token{RefreshToken: refreshToken}).Token()
		header = headerOf(err)
		t, err = c.token("refresh", t, err)
		return header, err
	})
	return t, err
}

// headerOf returns the header of a token address's refusal. x/oauth2 gives no access to that of a success.
func headerOf(err error) http.Header {
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok || refused.Response == nil {
		return nil
	}
	return refused.Response.Header
}

func (c *Caller) with(ctx context.Context) context.Context {
	client := *c.client.http
	client.Transport = tokenAnswers{client.Transport}
	return context.WithValue(ctx, oauth2.HTTPClient, &client)
}

// token checks a token answer, and adds an expiry if the provider should have named one.
func (c *Caller) token(call string, t *oauth2.Token, err error) (*oauth2.Token, error) {
	if err != nil {
		return nil, c.tokenError(call, err)
	}
	if !printable(t.AccessToken) || !printable(t.RefreshToken) {
		return nil, c.Fail(call, ErrUnavailable, 0, "token_charset")
	}
	if t.Expiry.IsZero() && c.AssumedLife > 0 {
		t.Expiry = time.Now().Add(c.AssumedLife)
	}
	return t, nil
}

// tokenError distinguishes definite refusals by a token address from failures that may pass.
func (c *Caller) tokenError(call string, err error) error {
	if _, ok := errors.AsType[*url.Error](err); ok {
		return c.Fail(call, ErrUnavailable, 0, "")
	}
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok || refused.Response == nil { // an answer, but not one with tokens
		return c.Fail(call, ErrUnavailable, http.StatusOK, "")
	}
	status := refused.Response.StatusCode
	kind, code := ErrUnavailable, standardCode(refused.ErrorCode)
	if code == "" && c.TokenError != nil {
		short, own := c.TokenError(status, refused.Body)
		kind, code = cmp.Or(own, kind), short
	}
	switch {
	case status == http.StatusTooManyRequests:
		kind = ErrRateLimited
	case code == "invalid_grant":
		kind = ErrRefused
	}
	return c.Fail(call, kind, status, code)
}

// standardCode returns a code if the standard defines it, otherwise "": no other text of an answer may reach a log.
func standardCode(code string) string {
	switch code {
	case "invalid_grant", "invalid_client", "invalid_request", "invalid_scope", "unauthorized_client",
		"unsupported_grant_type", "unsupported_response_type", "redirect_uri_mismatch",
		"server_error", "temporarily_unavailable":
		return code
	}
	return ""
}

// Get calls the provider's API with an access token, and decodes a JSON answer into out. Errors: those of Call.
func (c *Caller) Get(ctx context.Context, call, path string, query url.Values, accessToken string, out any) error {
	r, err := c.Request(path, query, accessToken)
	if err != nil {
		return err
	}
	return c.Call(ctx, call, r, out)
}

// Call sends a request to the provider and decodes a JSON answer into out. If out is nil, any answer will do that does
// not contradict its status (confirms). 401 is ErrRefused, 412 is ErrNotPermitted and 429 is ErrRateLimited, unless the
// provider means something else by them (Provider.APIError). Every other failure may be temporary. Errors: *Error.
func (c *Caller) Call(ctx context.Context, call string, r *http.Request, out any) error {
	return c.limited(ctx, call, single, func() (http.Header, error) { return c.send(ctx, call, r, out) })
}

func (c *Caller) send(ctx context.Context, call string, r *http.Request, out any) (http.Header, error) {
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "Cairn")
	resp, err := c.client.http.Do(r.WithContext(ctx))
	if err != nil {
		return nil, c.Fail(call, ErrUnavailable, 0, "")
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil && resp.StatusCode != http.StatusTooManyRequests {
		return resp.Header, c.Fail(call, ErrUnavailable, resp.StatusCode, "")
	}
	if code, kind := c.apiError(call, resp.StatusCode, body); kind != nil {
		return resp.Header, c.Fail(call, kind, resp.StatusCode, code)
	}
	if out == nil && !confirms(body) || out != nil && json.Unmarshal(body, out) != nil {
		return resp.Header, c.Fail(call, ErrUnavailable, resp.StatusCode, "")
	}
	return resp.Header, nil
}

// apiError returns the short code of an answer, if it is a known one, and its kind of error, nil for a success.
func (c *Caller) apiError(call string, status int, body []byte) (code string, kind error) {
	if status >= 200 && status <= 299 {
		return "", nil
	}
	if c.APIError != nil {
		code, kind = c.APIError(call, status, body)
	}
	switch {
	case kind != nil:
		return code, kind
	case status == http.StatusTooManyRequests:
		return code, ErrRateLimited
	case status == http.StatusUnauthorized:
		return code, ErrRefused
	case status == http.StatusPreconditionFailed:
		return code, ErrNotPermitted
	}
	return code, ErrUnavailable
}

// confirms reports whether the content of an answer fits a success. A web page, or an error with status 200, does not.
func confirms(body []byte) bool {
	var answer struct {
		Error, ErrorMessage json.RawMessage
		Errors              []json.RawMessage
	}
	return len(body) == 0 || json.Unmarshal(body, &answer) == nil &&
		answer.Error == nil && answer.ErrorMessage == nil && len(answer.Errors) == 0
}

// printable reports whether a token can be sent in a header: it is visible ASCII, or empty.
func printable(token string) bool {
	return len(token) <= 8192 && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}
