package strava

import (
	"net/http"
	"strconv"
	"strings"

	"cairn/internal/oauth"
)

// rateLimit reads the headers, "quarter hour,day" each. Both limits apply to our calls, so the lower one is our quota.
// The limits are believed only if both are there.
func rateLimit(header http.Header) (limit oauth.RateLimit) {
	all, allOK := quotaOf(header, "X-RateLimit")
	reads, readsOK := quotaOf(header, "X-ReadRateLimit")
	switch {
	case allOK && readsOK:
		limit.QuarterLimit = new(min(all.limit[0], reads.limit[0]))
		limit.DayLimit = new(min(all.limit[1], reads.limit[1]))
		limit.QuarterLeft = new(min(all.left(0), reads.left(0)))
		limit.DayLeft = new(min(all.left(1), reads.left(1)))
	case allOK:
		limit.QuarterLeft, limit.DayLeft = new(all.left(0)), new(all.left(1))
	case readsOK:
		limit.QuarterLeft, limit.DayLeft = new(reads.left(0)), new(reads.left(1))
	}
	return limit
}

// largestQuota is beyond what any application has; larger numbers are a mistake.
const largestQuota = 10_000_000

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
