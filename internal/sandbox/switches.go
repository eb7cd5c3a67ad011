package sandbox

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	"github.com/jackc/pgx/v5"
)

// The switches beside those of the calls. Token and API take a mode for all calls of their kind; a call's own switch
// goes before them.
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

	// Which events are sent, and how. Where they go says Options.Hooks alone.
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
	Absurd    = "absurd"    // numbers that nobody has, and a limit of 0
)

// control is one switch of a provider; the first value is its default.
type control struct {
	Name, Label string
	Values      []string
	Form        *regexp.Regexp // of a free text; nil: one of Values
	Fails       bool           // it takes a mode
}

// Free tells whether any text of the right form will do.
func (c control) Free() bool { return c.Form != nil }

// Word says in words what a value does.
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

// controlsOf lists the provider's switches, those of the calls first.
func (s *Sandbox) controlsOf(provider string) []control {
	controls := []control{{Name: Token, Label: "Token endpoint", Values: Modes(Token), Fails: true},
		{Name: API, Label: "API", Values: Modes(API), Fails: true}}
	for _, call := range Calls(provider) {
		controls = append(controls,
			control{Name: call, Label: "Only " + callWords[call], Values: Modes(call), Fails: true})
	}
	text := func(name, label, standard string, form *regexp.Regexp) control {
		return control{Name: name, Label: label, Values: []string{standard}, Form: form}
	}
	controls = append(controls, text(RetryAfter, "Retry-After", "30", anyHeader))
	onOff, offOn := []string{On, Off}, []string{Off, On}
	switch provider {
	case Strava:
		return append(controls,
			control{Name: RotateRefresh, Label: "Rotate the refresh token", Values: onOff},
			control{Name: RevokeEndpoint, Label: "/oauth/revoke exists", Values: onOff},
			control{Name: SignEvents, Label: "Sign events", Values: offOn},
			text(Quota, "Calls per quarter hour, day", "200,2000", twoNumbers),
			text(ReadQuota, "Reads per quarter hour, day", "100,1000", twoNumbers),
			control{
				Name: QuotaHeaders, Label: "Headers about the quota",
				Values: []string{Honest, Missing, Malformed, Absurd},
			},
			control{Name: NamesAthlete, Label: "The answer to a code names the athlete", Values: onOff},
			text(AthleteLimit, "Athletes at most (0: any)", "0", oneNumber))
	case Garmin:
		return append(controls,
			control{Name: KeepOldRefresh, Label: "Used refresh tokens still work", Values: offOn},
			control{
				Name: PullHeader, Label: "Authorization at a callbackURL",
				Values: []string{Ignored, Forbidden, Required},
			},
			control{Name: ActivitiesBy, Label: "Activities by", Values: []string{Push, Ping}},
			control{Name: Activities, Label: "Send activities", Values: onOff},
			control{Name: Deregistrations, Label: "Send deregistrations", Values: onOff},
			control{Name: PermissionChanges, Label: "Send permission changes", Values: onOff})
	}
	return append(controls,
		text(Quota, "Calls per hour and token", "500", oneNumber),
		control{Name: Pushes, Label: "Send check-ins", Values: onOff})
}

var callWords = map[string]string{
	Exchange:      "code for tokens",
	Refresh:       "refresh",
	WhoAmI:        "who am I",
	Permissions:   "permissions",
	Data:          "data",
	Revoke:        "revoke",
	Subscriptions: "push subscriptions",
}

// SetSwitch sets a switch of the provider for all instances, until it is set again.
func (s *Sandbox) SetSwitch(ctx context.Context, provider, name, value string) error {
	return s.setSwitch(ctx, provider, name, value, nil)
}

// FailNext lets the next n requests to the call (or to Token or API) meet the mode, and those after them none.
func (s *Sandbox) FailNext(ctx context.Context, provider, call, mode string, n int) error {
	if call != Token && call != API && !slices.Contains(Calls(provider), call) {
		return fmt.Errorf("sandbox: %s has no call %q", provider, call)
	}
	return s.setSwitch(ctx, provider, call, mode, &n)
}

func (s *Sandbox) setSwitch(ctx context.Context, provider, name, value string, remaining *int) error {
	known := slices.ContainsFunc(s.controlsOf(provider), func(c control) bool {
		return c.Name == name && c.takes(value)
	})
	if _, simulated := s.apps[provider]; !simulated || !known {
		return fmt.Errorf("sandbox: %s has no switch %q with a value %q", provider, name, value)
	}
	_, err := s.pool.Exec(ctx, `
		INSERT INTO cairn_sandbox.switches (provider, name, value, remaining) VALUES ($1, $2, $3, $4)
		ON CONFLICT (provider, name) DO UPDATE SET value = EXCLUDED.value, remaining = EXCLUDED.remaining`,
		provider, name, value, remaining)
	if err != nil {
		return fmt.Errorf("sandbox: set switch: %w", err)
	}
	return nil
}

// positions is where the switches of the provider stand.
func (s *Sandbox) positions(ctx context.Context, provider string) (map[string]string, error) {
	positions := map[string]string{}
	for _, c := range s.controlsOf(provider) {
		positions[c.Name] = c.Values[0]
	}
	rows, _ := s.pool.Query(ctx, `
		SELECT name, value FROM cairn_sandbox.switches
		WHERE provider = $1 AND coalesce(remaining, 1) > 0`, provider)
	var name, value string
	_, err := pgx.ForEachRow(rows, []any{&name, &value}, func() error {
		if _, known := positions[name]; known {
			positions[name] = value
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("sandbox: read switches: %w", err)
	}
	return positions, nil
}

func (s *Sandbox) position(ctx context.Context, provider, name string) (string, error) {
	positions, err := s.positions(ctx, provider)
	return positions[name], err
}

func (s *Sandbox) isOn(ctx context.Context, provider, name string) (bool, error) {
	value, err := s.position(ctx, provider, name)
	return value == On, err
}

// modeOf says how the call is to go wrong now, and counts that where it was to happen so many times only.
func (s *Sandbox) modeOf(ctx context.Context, provider, call string) (string, error) {
	type row struct{ Value string }
	set, found, err := oneRow[row](ctx, s.store, "read faults", `
		UPDATE cairn_sandbox.switches s SET remaining = remaining - 1
		FROM (
			SELECT name FROM cairn_sandbox.switches
			WHERE provider = $1 AND name IN ($2, $3) AND value <> $4 AND coalesce(remaining, 1) > 0
			ORDER BY name = $2 DESC LIMIT 1
			FOR UPDATE) f
		WHERE s.provider = $1 AND s.name = f.name
		RETURNING s.value`, provider, call, groupOf(call), ModeNone)
	if !found {
		return ModeNone, err
	}
	return set.Value, err
}
