package routes_test

import (
	"path"
	"slices"
	"strings"
	"testing"

	"cairn/internal/connection"
	"cairn/internal/sandbox"
)

// notPermitted is the result of a call that says something about a permission and nothing about the connection.
const notPermitted connection.Cause = "not_permitted"

// rule says what a call in one of the modes leads to, as a cause of the state machine.
type rule struct {
	modes string // patterns as in path.Match
	at    string // a provider; "": all

	exchange  connection.Cause // the code for tokens
	introduce connection.Cause // whose account it is, and what it permits, before anything is stored
	refresh   connection.Cause
	ask       connection.Cause // the same as introduce and more, of a connection that there is
	revoke    connection.Cause
}

// rules are tried from the top. Those of one provider go before those of all.
var rules = []rule{
	// Unusual answers that can be understood.
	{
		modes:    "none text expires_* id_* name_*",
		exchange: connection.Connected, introduce: connection.Connected,
		refresh: connection.Works, ask: connection.Works, revoke: connection.Revoked,
	},

	// No answer, and a rate limit, say nothing about a connection.
	{
		modes:    "slow hang reset lost",
		exchange: connection.NoAnswer, introduce: connection.NoAnswer,
		refresh: connection.NoAnswer, ask: connection.NoAnswer, revoke: connection.Disconnected,
	},
	{
		modes:    "429*",
		exchange: connection.SlowDown, introduce: connection.SlowDown,
		refresh: connection.SlowDown, ask: connection.SlowDown, revoke: connection.Disconnected,
	},

	// With 403 Strava refuses our application, Garmin a token that it does not know, and Foursquare a
	// client that asks too often.
	{
		modes: "403", at: sandbox.Strava,
		exchange: connection.AthleteLimit, introduce: connection.AppRefused,
		refresh: connection.AthleteLimit, ask: connection.AppRefused, revoke: connection.Disconnected,
	},
	{
		modes: "403*", at: sandbox.Strava,
		exchange: connection.AppRefused, introduce: connection.AppRefused,
		refresh: connection.AppRefused, ask: connection.AppRefused, revoke: connection.Disconnected,
	},
	{
		modes: "403*", at: sandbox.Garmin,
		exchange: connection.BadAnswer, introduce: connection.AccessRefused,
		refresh: connection.BadAnswer, ask: connection.BadAnswer, revoke: connection.Revoked,
	},
	{
		modes: "403", at: sandbox.Foursquare,
		exchange: connection.BadAnswer, introduce: connection.SlowDown,
		ask: connection.SlowDown,
	},

	// Definite refusals, in the provider's own words.
	{
		modes:    "400",
		exchange: connection.AccessRefused, introduce: connection.BadAnswer,
		refresh: connection.RefreshRefused, ask: connection.BadAnswer, revoke: connection.Disconnected,
	},
	{
		modes: "200", at: sandbox.Strava,
		exchange: connection.BadAnswer, introduce: connection.BadAnswer,
		refresh: connection.BadAnswer, ask: connection.BadAnswer, revoke: connection.Disconnected,
	},
	{
		modes:    "200",
		exchange: connection.AccessRefused, introduce: connection.BadAnswer,
		refresh: connection.RefreshRefused, ask: connection.BadAnswer, revoke: connection.Disconnected,
	},
	{
		modes:    "401*",
		exchange: connection.BadAnswer, introduce: connection.AccessRefused,
		refresh: connection.BadAnswer, ask: connection.AccessRefused, revoke: connection.Revoked,
	},
	{
		modes: "404*", at: sandbox.Garmin,
		exchange: connection.BadAnswer, introduce: connection.BadAnswer,
		refresh: connection.BadAnswer, ask: connection.BadAnswer, revoke: connection.Revoked,
	},
	{
		modes:    "412*",
		exchange: connection.BadAnswer, introduce: notPermitted,
		refresh: connection.BadAnswer, ask: notPermitted, revoke: connection.Disconnected,
	},

	// All other answers can't be used. Only a revocation needs no content in its answer.
	{
		modes:    "empty wrong_types",
		exchange: connection.BadAnswer, introduce: connection.BadAnswer,
		refresh: connection.BadAnswer, ask: connection.BadAnswer, revoke: connection.Revoked,
	},
	{
		modes:    "30[12378] 4* 5* drip html huge invalid_json",
		exchange: connection.BadAnswer, introduce: connection.BadAnswer,
		refresh: connection.BadAnswer, ask: connection.BadAnswer, revoke: connection.Disconnected,
	},
}

// Garmin's refusals of an address say nothing about a connection: who knows where the address came
// from? Some refusals of a request for older activities say nothing either: they may have been
// requested before.
var (
	unfitAddress  = rule{modes: "400* 401* 403* 404* 409* 410*"}
	unfitBackfill = rule{modes: "400* 404* 409* 410*"}
	goodBackfill  = rule{modes: "empty wrong_types id_number"} // nothing is read of it
)

func (r rule) covers(provider, mode string) bool {
	return (r.at == "" || r.at == provider) && slices.ContainsFunc(strings.Fields(r.modes), func(pattern string) bool {
		matched, err := path.Match(pattern, mode)
		return matched && err == nil
	})
}

// outcome is what a rule says about a call in a scene.
func outcome(provider string, s scene, call, mode string) (connection.Cause, bool) {
	i := slices.IndexFunc(rules, func(r rule) bool { return r.covers(provider, mode) })
	if i < 0 {
		return "", false
	}
	switch {
	case s.name == "fetching" && provider == sandbox.Garmin && unfitAddress.covers(provider, mode),
		s.name == "backfilling" && unfitBackfill.covers(provider, mode):
		return notPermitted, true
	case s.name == "backfilling" && goodBackfill.covers(provider, mode):
		return connection.Works, true
	case call == sandbox.Exchange:
		return rules[i].exchange, true
	case call == sandbox.Refresh:
		return rules[i].refresh, true
	case call == sandbox.Revoke:
		return rules[i].revoke, true
	case s.begins:
		return rules[i].introduce, true
	}
	return rules[i].ask, true
}

// otherwhere are the calls that are in no scene, with where they are tested.
var otherwhere = map[string]string{
	sandbox.Subscriptions: "cmd/server: an operator's command",
}

// Everything that the sandbox can do is in the matrix.
func TestMatrixIsComplete(t *testing.T) {
	t.Parallel()
	used := make([]bool, len(rules))
	for _, provider := range []string{sandbox.Strava, sandbox.Garmin, sandbox.Foursquare} {
		for _, call := range sandbox.Calls(provider) {
			inScene := slices.ContainsFunc(scenes, func(s scene) bool { return slices.Contains(s.calls, call) })
			if _, elsewhere := otherwhere[call]; inScene == elsewhere {
				t.Errorf("%s: %s is in a scene: %t, tested elsewhere: %t", provider, call, inScene, elsewhere)
			}
			for _, mode := range sandbox.Modes(call) {
				i := slices.IndexFunc(rules, func(r rule) bool { return r.covers(provider, mode) })
				if i < 0 {
					t.Errorf("no rule says what comes of %q", mode)
				} else {
					used[i] = true
				}
			}
		}
	}
	for i, r := range rules {
		if !used[i] {
			t.Errorf("no mode needs the rule for %q at %q", r.modes, r.at)
		}
	}
}
