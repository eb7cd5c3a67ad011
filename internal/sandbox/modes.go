package sandbox

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// The calls, which are counted and can be made to fail one by one.
const (
	Exchange      = "exchange"      // a code for tokens, or an unknown grant type
	Refresh       = "refresh"       // a refresh token for tokens
	UserInfo      = "userinfo"      // /athlete, /user/id, /users/self
	Permissions   = "permissions"   // Garmin: /user/permissions
	Data          = "data"          // activities or check-ins
	Revoke        = "revoke"        // Strava: /oauth/revoke and /oauth/deauthorize; Garmin: DELETE registration
	Subscriptions = "subscriptions" // Strava: /push_subscriptions
	Elsewhere     = "elsewhere"     // counted only: requests to the other host, which redirects lead to
	Other         = "other"         // counted only: paths that the sandbox does not simulate
)

// groupOf returns the switch that holds for the call if its own is not set.
func groupOf(call string) string {
	if call == Exchange || call == Refresh {
		return Token
	}
	return API
}

// The modes of a call: how it goes wrong. There are also the statuses "400" to "503" with the provider's error, the
// same as "500 html" with a web page, the redirects "301" to "308" to another host, and "200", which has the body of
// 400.
//
// A request that fails changes nothing: its code or refresh token stays unused. With ModeLost, ModeText and the modes
// from ModeWrongTypes on, the request has its effect, and only the response is wrong.
const (
	ModeNone       = "none"
	ModeRetryAfter = "429 retry-after" // with the Retry-After of that switch, as 503, too
	ModeSlow       = "slow"            // waits 15 seconds or until the client leaves, then answers as usual
	ModeHang       = "hang"            // never answers
	ModeDrip       = "drip"            // one byte a second, without end
	ModeReset      = "reset"           // the connection is cut
	ModeLost       = "lost"            // the connection is cut after the request has had its effect
	ModeHTML       = "html"            // 200 with a web page
	ModeEmpty      = "empty"           // 200 with nothing
	ModeHuge       = "huge"            // 200 with 10 MB of JSON
	ModeInvalid    = "invalid_json"    // 200 with JSON that ends too soon
	ModeText       = "text"            // the right response as text/plain

	ModeWrongTypes = "wrong_types" // numbers for strings, strings for numbers, lists for objects, objects for lists

	ModeExpiresString   = "expires_string" // "21600"
	ModeExpiresWords    = "expires_words"  // "soon"
	ModeExpiresFloat    = "expires_float"  // 21599.5
	ModeExpiresMissing  = "expires_missing"
	ModeExpiresZero     = "expires_zero"
	ModeExpiresNegative = "expires_negative"
	ModeExpiresHuge     = "expires_huge" // the greatest int64

	ModeIDNumber = "id_number" // 9007199254740993, which a float64 cannot hold, and onwards in lists
	ModeIDString = "id_string" // the same in quotes

	ModeNameMissing = "name_missing"
	ModeNameNull    = "name_null"
	ModeNameUnicode = "name_unicode" // scripts from right to left, joiners, combining marks, markup
	ModeNameNUL     = "name_nul"     // with the character U+0000, which PostgreSQL refuses
	ModeNameLong    = "name_long"    // 5000 characters
)

var (
	statuses  = []string{"400", "401", "403", "404", "410", "412", "429", "500", "502", "503"}
	redirects = []string{"301", "302", "303", "307", "308"}
	expiries  = []string{
		ModeExpiresString, ModeExpiresWords, ModeExpiresFloat, ModeExpiresMissing, ModeExpiresZero,
		ModeExpiresNegative, ModeExpiresHuge,
	}
	identities = []string{
		ModeIDNumber, ModeIDString, ModeNameMissing, ModeNameNull, ModeNameUnicode, ModeNameNUL, ModeNameLong,
	}
)

// Modes lists the modes of a call, or of all calls with Token or API, ModeNone first.
func Modes(call string) []string {
	modes := slices.Concat([]string{ModeNone}, statuses, []string{ModeRetryAfter})
	for _, status := range statuses {
		modes = append(modes, status+" html")
	}
	modes = slices.Concat(modes, redirects, []string{"200", ModeSlow, ModeHang, ModeDrip, ModeReset, ModeLost, ModeHTML,
		ModeEmpty, ModeHuge, ModeInvalid, ModeText, ModeWrongTypes})
	if call == Token || groupOf(call) == Token {
		modes = append(modes, expiries...)
	}
	if call == API || call == Exchange || call == UserInfo || call == Data {
		modes = append(modes, identities...)
	}
	return modes
}

var modeWords = map[string]string{
	ModeNone:            "Answers as usual",
	"200":               "200 with an error inside",
	ModeRetryAfter:      "429 with Retry-After",
	ModeSlow:            fmt.Sprintf("Slow: %.0f seconds", slowFor.Seconds()),
	ModeHang:            "Never answers",
	ModeDrip:            "One byte a second",
	ModeReset:           "Connection cut",
	ModeLost:            "Done, then connection cut",
	ModeHTML:            "200 with a web page",
	ModeEmpty:           "200 with nothing",
	ModeHuge:            "200 with 10 MB",
	ModeInvalid:         "JSON cut short",
	ModeText:            "As text/plain",
	ModeWrongTypes:      "Wrong types",
	ModeExpiresString:   "expires_in in quotes",
	ModeExpiresWords:    `expires_in "soon"`,
	ModeExpiresFloat:    "expires_in with a fraction",
	ModeExpiresMissing:  "No expires_in",
	ModeExpiresZero:     "expires_in 0",
	ModeExpiresNegative: "expires_in negative",
	ModeExpiresHuge:     "expires_in huge",
	ModeIDNumber:        "Ids above 2⁵³",
	ModeIDString:        "Ids above 2⁵³ in quotes",
	ModeNameMissing:     "Names missing",
	ModeNameNull:        "Names null",
	ModeNameUnicode:     "Names in many scripts",
	ModeNameNUL:         "Names with a NUL",
	ModeNameLong:        "Names of 5000 characters",
	On:                  "yes",
	Off:                 "no",
}

// wordFor describes a value of a switch.
func wordFor(value string) string {
	if words, known := modeWords[value]; known {
		return words
	}
	number, page, _ := strings.Cut(value, " ")
	status, err := strconv.Atoi(number)
	switch {
	case err != nil:
		return value
	case page != "":
		return number + ", with a web page"
	case status < http.StatusBadRequest:
		return number + " to another host"
	}
	return number + " " + http.StatusText(status)
}
