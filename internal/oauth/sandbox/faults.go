package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// The switches. Token and API take a mode; the others are on or off and belong to one provider.
const (
	Token          = "token"            // the token endpoint
	API            = "api"              // everything called with or about an access token, revocation included
	RotateRefresh  = "rotate_refresh"   // Strava: every token answer has a new refresh token and ends the old (default on)
	RevokeEndpoint = "revoke_endpoint"  // Strava: /oauth/revoke exists; off: 404, only deauthorize is left (default on)
	KeepOldRefresh = "keep_old_refresh" // Garmin: a refresh token that was used works again (default off)
	On             = "on"
	Off            = "off"
)

// The modes of Token and API: how the call fails, instead of being answered. A request that meets one changes
// nothing: its code or refresh token stays unused. Beside these there are the statuses "400", "401", "403", "429" and
// "500", in the provider's own words, and "200", which is the body of 400 under status 200.
const (
	ModeNone  = "none"
	ModeSlow  = "slow"  // waits 15 seconds or until the client leaves, then answers as usual
	ModeHTML  = "html"  // 200 with a web page
	ModeReset = "reset" // the connection is cut
	ModeEmpty = "empty" // 200 with nothing
	ModeHuge  = "huge"  // 200 with 10 MB of JSON
)

const (
	slowFor  = 15 * time.Second
	hugeSize = 10 << 20
)

func modes() []string {
	return []string{ModeNone, "400", "401", "403", "429", "500", "200", ModeSlow, ModeHTML, ModeReset, ModeEmpty, ModeHuge}
}

// control is one switch of a provider; the first value is its default.
type control struct {
	Name, Label string
	Values      []string
}

func controlsOf(provider string) []control {
	controls := []control{{Token, "Token endpoint", modes()}, {API, "API", modes()}}
	switch provider {
	case Strava:
		return append(controls, control{RotateRefresh, "Rotate the refresh token", []string{On, Off}},
			control{RevokeEndpoint, "/oauth/revoke exists", []string{On, Off}})
	case Garmin:
		return append(controls, control{KeepOldRefresh, "Used refresh tokens still work", []string{Off, On}})
	}
	return controls
}

// Word says in words what a value does.
func (control) Word(value string) string {
	switch value {
	case On:
		return "yes"
	case Off:
		return "no"
	case ModeNone:
		return "Answers as usual"
	case "200":
		return "200 with an error inside"
	case "500":
		return "500 Server Error"
	case ModeSlow:
		return fmt.Sprintf("Slow: %.0f seconds", slowFor.Seconds())
	case ModeHTML:
		return "200 with a web page"
	case ModeReset:
		return "Connection cut"
	case ModeEmpty:
		return "200 with nothing"
	case ModeHuge:
		return "200 with 10 MB"
	}
	status, _ := strconv.Atoi(value)
	return value + " " + http.StatusText(status)
}

// SetSwitch sets a switch of the provider for all instances, until it is set again.
func (s *Sandbox) SetSwitch(ctx context.Context, provider, name, value string) error {
	known := slices.ContainsFunc(controlsOf(provider), func(c control) bool {
		return c.Name == name && slices.Contains(c.Values, value)
	})
	if _, played := s.apps[provider]; !played || !known {
		return fmt.Errorf("sandbox: %s has no switch %q with a value %q", provider, name, value)
	}
	_, err := s.pool.Exec(ctx, `
		INSERT INTO cairn_sandbox.switches (provider, name, value) VALUES ($1, $2, $3)
		ON CONFLICT (provider, name) DO UPDATE SET value = EXCLUDED.value`, provider, name, value)
	if err != nil {
		return fmt.Errorf("sandbox: set switch: %w", err)
	}
	return nil
}

// position is where a switch of the provider stands.
func (s *Sandbox) position(ctx context.Context, provider, name string) (string, error) {
	type row struct{ Value string }
	set, found, err := oneRow[row](ctx, s.store, "read switch",
		`SELECT value FROM cairn_sandbox.switches WHERE provider = $1 AND name = $2`, provider, name)
	if err != nil || found {
		return set.Value, err
	}
	controls := controlsOf(provider)
	i := slices.IndexFunc(controls, func(c control) bool { return c.Name == name })
	return controls[i].Values[0], nil
}

func (s *Sandbox) isOn(ctx context.Context, provider, name string) (bool, error) {
	value, err := s.position(ctx, provider, name)
	return value == On, err
}

// tokenCall counts a request to a token endpoint and answers it, unless it is to fail.
func (s *Sandbox) tokenCall(provider string, next handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
		if err := r.ParseForm(); err != nil {
			return writeJSON(w, http.StatusBadRequest, failureOf(provider, Token, http.StatusBadRequest))
		}
		if err := s.recordTokenRequest(r.Context(), provider, r.Form.Get("grant_type")); err != nil {
			return err
		}
		return s.orFail(provider, Token, next)(w, r)
	}
}

// apiCall counts a call for the rate headers and answers it, unless it is to fail.
func (s *Sandbox) apiCall(provider string, next handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
		_ = r.ParseForm() // a form that cannot be read has no token in it
		used, err := s.countCall(r.Context(), provider)
		if err != nil {
			return err
		}
		switch provider {
		case Strava:
			stravaHeaders(w.Header(), used)
		case Foursquare:
			foursquareHeaders(w.Header(), used)
		}
		return s.orFail(provider, API, next)(w, r)
	}
}

func (s *Sandbox) orFail(provider, call string, next handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		mode, err := s.position(r.Context(), provider, call)
		if err != nil {
			return err
		}
		switch mode {
		case ModeNone:
		case ModeSlow:
			if !waited(r.Context(), slowFor) {
				return nil
			}
		default:
			return fail(w, provider, call, mode)
		}
		// What is begun is finished though the client leaves: the provider would not know either.
		return next(w, r.WithContext(context.WithoutCancel(r.Context())))
	}
}

// waited is false when the client has left before the time was over.
func waited(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func fail(w http.ResponseWriter, provider, call, mode string) error {
	switch mode {
	case ModeReset:
		panic(http.ErrAbortHandler) // net/http cuts the connection without a word
	case ModeEmpty:
		w.WriteHeader(http.StatusOK)
		return nil
	case ModeHTML:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte("<!doctype html><title>Back soon</title><h1>We are making things better</h1>"))
		return nil
	case ModeHuge:
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"padding":"%s"}`, bytes.Repeat([]byte("x"), hugeSize)) // who hangs up early is right
		return nil
	case "200":
		return writeJSON(w, http.StatusOK, failureOf(provider, call, http.StatusBadRequest))
	}
	status, err := strconv.Atoi(mode)
	if err != nil {
		return fmt.Errorf("sandbox: switch %s %s stands at %q, which is no mode", provider, call, mode)
	}
	return writeJSON(w, status, failureOf(provider, call, status))
}

// failureOf is the body that goes with the status.
func failureOf(provider, call string, status int) any {
	switch provider {
	case Strava:
		return stravaFailure(call, status)
	case Garmin:
		return garminFailure(call, status)
	}
	return foursquareFailure(call, status)
}
