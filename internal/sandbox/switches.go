package sandbox

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	"github.com/jackc/pgx/v5"
)

// The switches beside those of the calls. Token and API take a mode for all calls of their kind; a call's own switch
// has precedence.
const (
	Token = "token" // the token endpoint: Exchange and Refresh
	API   = "api"   // everything called with or about an access token, revocation included
	// RotateRefresh is Strava's: every token answer has a new refresh token and ends the old one
	// (default on).
	RotateRefresh  = "rotate_refresh"
	RevokeEndpoint = "revoke_endpoint"  // Strava: /oauth/revoke exists; off: 404, only deauthorize is left (default on)
	KeepOldRefresh = "keep_old_refresh" // Garmin: a refresh token that was used works again (default off)
	// Quota is Strava's: calls a quarter and a day, "200,2000"; or Foursquare's: calls an hour and
	// token, "500".
	Quota        = "quota"
	ReadQuota    = "read_quota"    // Strava: calls that only read, "100,1000"
	AthleteLimit = "athlete_limit" // Strava: how many people may connect (default 0: any number)
	NamesAthlete = "names_athlete" // Strava: the answer to a code says whose it is (default on)
	QuotaHeaders = "quota_headers" // Strava: what the headers about the quota hold
	RetryAfter   = "retry_after"   // what ModeRetryAfter and 503 have in that header (default "30")
	// SignEvents is Strava's: events have X-Strava-Signature, whose existence is disputed (default
	// off).
	SignEvents = "sign_events"
	PullHeader = "pull_header" // Garmin: whether the fetching of a callbackURL may have an Authorization header
	On         = "on"
	Off        = "off"

	// Which events are sent, and how. Options.Hooks says where.
	Deregistrations   = "deregistrations"       // Garmin (default on)
	PermissionChanges = "userPermissionsChange" // Garmin (default on)
	Activities        = "activities"            // Garmin (default on)
	ActivitiesBy      = "activities_by"         // Garmin: Push (default) or Ping
	Pushes            = "pushes"                // Foursquare (default on)
)

// The values of PullHeader.
const (
	Ignored   = "ignored"
	Forbidden = "forbidden"
	Required  = "required"
)

// The values of QuotaHeaders; the first is the default.
const (
	Honest    = "honest"
	Missing   = "missing"
	Malformed = "malformed" // words, one number, negative ones
	Absurd    = "absurd"    // impossible numbers, and a limit of 0
)

// control is one switch of a provider; the first value is its default.
type control struct {
	Name, Label string
	Values      []string
	Form        *regexp.Regexp // of a free text; nil: one of Values
	Fails       bool           // it takes a mode
}

// Free reports whether the value is a free text of a certain form.
func (c control) Free() bool { return c.Form != nil }

// Word describes a value.
func (control) Word(value string) string { return wordFor(value) }

func (c control) takes(value string) bool {
	if c.Free() {
		return c.Form.MatchString(value)
	}
	return slices.Contains(c.Values, value)
}

var (
	twoNumbers = regexp.MustCompile(`^\d{1,9},\d{1,9}$`)
	anyHeader  = regexp.MustCompile(`^[ -~]{0,60}$`)
	oneNumber  = regexp.MustCompile(`^\d{1,9}$`)
)

var onOff, offOn = []string{On, Off}, []string{Off, On}

func textControl(name, label, value string, form *regexp.Regexp) control {
	return control{Name: name, Label: label, Values: []string{value}, Form: form}
}

// controlsOf lists the provider's switches, those of the calls first.
func controlsOf(p provider) []control {
	controls := []control{{Name: Token, Label: "Token endpoint", Values: Modes(Token), Fails: true},
		{Name: API, Label: "API", Values: Modes(API), Fails: true}}
	for _, call := range p.describe().calls {
		controls = append(controls,
			control{Name: call, Label: "Only " + callWords[call], Values: Modes(call), Fails: true})
	}
	controls = append(controls, textControl(RetryAfter, "Retry-After", "30", anyHeader))
	return append(controls, p.controls()...)
}

var callWords = map[string]string{
	Exchange:      "code for tokens",
	Refresh:       "refresh",
	UserInfo:      "user info",
	Permissions:   "permissions",
	Data:          "data",
	Revoke:        "revoke",
	Subscriptions: "push subscriptions",
}

// SetSwitch sets a switch of the provider for all instances, until it is set again.
func (s *Sandbox) SetSwitch(ctx context.Context, key, name, value string) error {
	return s.setSwitch(ctx, key, name, value, nil)
}

// FailNext makes the next n requests to the call (or to Token or API) fail in that mode.
func (s *Sandbox) FailNext(ctx context.Context, key, call, mode string, n int) error {
	if call != Token && call != API && !slices.Contains(Calls(key), call) {
		return fmt.Errorf("sandbox: %s has no call %q", key, call)
	}
	return s.setSwitch(ctx, key, call, mode, &n)
}

func (s *Sandbox) setSwitch(ctx context.Context, key, name, value string, remaining *int) error {
	p, ok := s.simulated(key)
	if !ok || !slices.ContainsFunc(controlsOf(p), func(c control) bool { return c.Name == name && c.takes(value) }) {
		return fmt.Errorf("sandbox: %s has no switch %q with a value %q", key, name, value)
	}
	_, err := s.pool.Exec(ctx, `
		INSERT INTO cairn_sandbox.switches (provider, name, value, remaining) VALUES ($1, $2, $3, $4)
		ON CONFLICT (provider, name) DO UPDATE SET value = EXCLUDED.value, remaining = EXCLUDED.remaining`,
		key, name, value, remaining)
	if err != nil {
		return fmt.Errorf("sandbox: set switch: %w", err)
	}
	return nil
}

// settings returns the values of the provider's switches.
func (s *Sandbox) settings(ctx context.Context, key string) (map[string]string, error) {
	settings := map[string]string{}
	for _, c := range controlsOf(providerOf(s, key)) {
		settings[c.Name] = c.Values[0]
	}
	rows, _ := s.pool.Query(ctx, `
		SELECT name, value FROM cairn_sandbox.switches
		WHERE provider = $1 AND coalesce(remaining, 1) > 0`, key)
	var name, value string
	_, err := pgx.ForEachRow(rows, []any{&name, &value}, func() error {
		if _, known := settings[name]; known {
			settings[name] = value
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("sandbox: read switches: %w", err)
	}
	return settings, nil
}

func (s *Sandbox) setting(ctx context.Context, key, name string) (string, error) {
	settings, err := s.settings(ctx, key)
	return settings[name], err
}

func (s *Sandbox) isOn(ctx context.Context, key, name string) (bool, error) {
	value, err := s.setting(ctx, key, name)
	return value == On, err
}

// modeOf returns how the call goes wrong now, and counts that for FailNext.
func (s *Sandbox) modeOf(ctx context.Context, key, call string) (string, error) {
	type row struct{ Value string }
	set, found, err := oneRow[row](ctx, s.store, "read faults", `
		UPDATE cairn_sandbox.switches s SET remaining = remaining - 1
		FROM (
			SELECT name FROM cairn_sandbox.switches
			WHERE provider = $1 AND name IN ($2, $3) AND value <> $4 AND coalesce(remaining, 1) > 0
			ORDER BY name = $2 DESC LIMIT 1
			FOR UPDATE) f
		WHERE s.provider = $1 AND s.name = f.name
		RETURNING s.value`, key, call, groupOf(call), ModeNone)
	if !found {
		return ModeNone, err
	}
	return set.Value, err
}
