package oauth

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// longestWait is how long a provider can keep us away with one answer.
	longestWait = 24 * time.Hour
	// usualWait is for a provider that asks us to slow down and does not say for how long.
	usualWait = 5 * time.Minute
	// largestQuota is beyond what any application has; larger numbers are a mistake.
	largestQuota = 10_000_000
)

// told is what an answer says about the calls that follow. Nil is what it does not say.
type told struct {
	quarterLimit, dayLimit *int
	quarterLeft, dayLeft   *int
	wait                   *time.Duration // nothing is wanted for so long
}

// told reads an answer; failure is nil for a good one. each says that it is about this one person only.
func (c *caller) told(header http.Header, failure *Error) (heard told, each bool) {
	if c.provider.tellsQuota {
		heard = quotaIn(header)
	}
	if failure == nil {
		return heard, false
	}
	limited := failure.Kind == ErrRateLimited
	if limited || failure.Status == http.StatusServiceUnavailable {
		heard.wait = waitIn(header)
	}
	switch {
	case !limited || heard.wait != nil:
	case c.provider.tellsQuota: // the quarter is spent, whatever else was said
		heard.quarterLeft = new(0)
	default:
		heard.wait = new(usualWait)
	}
	return heard, limited && c.provider.limitsEach && failure.Code != "quota_exceeded"
}

// quotaIn reads Strava's headers, "quarter hour,day" each. The narrower limit applies to all our
// calls, so our quota is what both limits leave. Limits are believed only together.
func quotaIn(header http.Header) (heard told) {
	all, allOK := quotaOf(header, "X-RateLimit")
	reads, readsOK := quotaOf(header, "X-ReadRateLimit")
	switch {
	case allOK && readsOK:
		heard.quarterLimit = new(min(all.limit[0], reads.limit[0]))
		heard.dayLimit = new(min(all.limit[1], reads.limit[1]))
		heard.quarterLeft = new(min(all.left(0), reads.left(0)))
		heard.dayLeft = new(min(all.left(1), reads.left(1)))
	case allOK:
		heard.quarterLeft, heard.dayLeft = new(all.left(0)), new(all.left(1))
	case readsOK:
		heard.quarterLeft, heard.dayLeft = new(reads.left(0)), new(reads.left(1))
	}
	return heard
}

// quota is a limit and its use, in a quarter hour and in a day.
type quota struct{ limit, used [2]int }

func (q quota) left(window int) int { return q.limit[window] - q.used[window] }

func quotaOf(header http.Header, name string) (q quota, ok bool) {
	limit, limitOK := pairOf(header.Get(name + "-Limit"))
	used, usedOK := pairOf(header.Get(name + "-Usage"))
	return quota{limit, used}, limitOK && usedOK && limit[0] > 0 && limit[1] > 0
}

// pairOf reads "15,300".
func pairOf(value string) (pair [2]int, ok bool) {
	numbers := strings.Split(value, ",")
	if len(numbers) != len(pair) {
		return pair, false
	}
	for i, number := range numbers {
		n, err := strconv.Atoi(strings.TrimSpace(number))
		if err != nil || n < 0 || n > largestQuota {
			return pair, false
		}
		pair[i] = n
	}
	return pair, true
}

// waitIn reads Retry-After, in seconds or as a date. It compares a date with the provider's own
// clock if the answer tells it. It ignores a time that is over or makes no sense.
func waitIn(header http.Header) *time.Duration {
	value := strings.TrimSpace(header.Get("Retry-After"))
	var wait time.Duration
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		wait = time.Duration(max(0, min(seconds, int64(longestWait.Seconds())))) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		now, err := http.ParseTime(header.Get("Date"))
		if err != nil {
			now = time.Now()
		}
		wait = min(at.Sub(now), longestWait)
	}
	if wait <= 0 {
		return nil
	}
	return &wait
}
