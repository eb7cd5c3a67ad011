package sandbox

import (
	"fmt"
	"net/http"
	"strings"
)

// meter counts in windows of the UTC clock, as Strava does. Refused calls count, too.
func (s strava) meter(
	h http.Header, r *http.Request, call string,
) (refusal func(http.ResponseWriter) error, err error) {
	at, err := s.settings(r.Context(), Strava)
	if err != nil {
		return nil, err
	}
	used, err := s.countCall(r.Context(), Strava, nil)
	if err != nil {
		return nil, err
	}
	// If a switch makes the call fail as over the quota, the headers agree.
	spent := strings.HasPrefix(at[call], "429") || strings.HasPrefix(at[API], "429")
	refusal = writeStravaQuota(h, used, at[Quota], at[ReadQuota], spent)
	spoilQuotaHeaders(h, at[QuotaHeaders])
	return refusal, nil
}

// writeStravaQuota writes "15 minutes,day" for all calls, and for those that only read, as all simulated ones do.
func writeStravaQuota(h http.Header, used usage, all, reads string, spent bool) func(http.ResponseWriter) error {
	usage := fmt.Sprintf("%d,%d", used.Quarter, used.Day)
	if spent {
		quarter, _, _ := strings.Cut(all, ",")
		usage = fmt.Sprintf("%d,%d", max(used.Quarter, number(quarter)), max(used.Day, number(quarter)))
	}
	h.Set("X-RateLimit-Limit", all)
	h.Set("X-RateLimit-Usage", usage)
	h.Set("X-ReadRateLimit-Limit", reads)
	h.Set("X-ReadRateLimit-Usage", usage)
	var which string
	switch {
	case used.over(all):
		which = "overall rate limit"
	case used.over(reads):
		which = "read rate limit"
	default:
		return nil
	}
	return func(w http.ResponseWriter) error {
		return writeJSON(w, http.StatusTooManyRequests,
			stravaError("Rate Limit Exceeded", "Application", which, "exceeded"))
	}
}

// spoilQuotaHeaders replaces what the headers say, or drops them.
func spoilQuotaHeaders(h http.Header, how string) {
	for name, spoilt := range map[string]map[string]string{
		"X-RateLimit-Limit":     {Malformed: "many,more", Absurd: "0,0"},
		"X-RateLimit-Usage":     {Malformed: "1", Absurd: "999999999999,999999999999"},
		"X-ReadRateLimit-Limit": {Malformed: "-1,-1", Absurd: "1e9,1e9"},
		"X-ReadRateLimit-Usage": {Malformed: "\u221e", Absurd: "999999999,999999999"},
	} {
		if how != Honest {
			h.Del(name)
		}
		if value := spoilt[how]; value != "" {
			h.Set(name, value)
		}
	}
}
