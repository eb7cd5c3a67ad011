package strava

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// The lower of the two limits counts. They are believed only if both are there.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ limit, usage, readLimit, readUsage, want string }{
		{"200,2000", "9,50", "100,1000", "9,50", "100 1000 91 950"},
		{"600,6000", "580,700", "300,3000", "12,53", "300 3000 20 2947"},
		{"600,6000", "590,700", "", "", "null null 10 5300"},
		{"", "", "300,3000", "12,53", "null null 288 2947"},
		{"600,6000", "601,701", "300,3000", "301,54", "300 3000 -1 2946"},
		{"", "", "", "", "null null null null"},
		{"600", "1,1", "0,0", "1,1", "null null null null"},
		{"600,-1", "1,1", "600,x", "1,1", "null null null null"},
		{"600,99999999999", "1,1", "", "", "null null null null"},
	} {
		header := http.Header{}
		header.Set("X-RateLimit-Limit", tt.limit)
		header.Set("X-RateLimit-Usage", tt.usage)
		header.Set("X-ReadRateLimit-Limit", tt.readLimit)
		header.Set("X-ReadRateLimit-Usage", tt.readUsage)
		limit := rateLimit(header)
		var got strings.Builder
		for i, n := range []*int{limit.QuarterLimit, limit.DayLimit, limit.QuarterLeft, limit.DayLeft} {
			text, _ := json.Marshal(n)
			if i > 0 {
				got.WriteString(" ")
			}
			got.WriteString(string(text))
		}
		if got.String() != tt.want {
			t.Errorf("%+v: got %s", tt, got.String())
		}
	}
}
