package foursquare

import (
	"encoding/json"
	"testing"
)

func TestOddCheckins(t *testing.T) {
	t.Parallel()
	for _, in := range []string{`{"error":"x"}`, `{"response":{"checkins":null}}`, `[]`} {
		var got checkins
		if json.Unmarshal([]byte(in), &got) == nil {
			t.Errorf("%s counts as check-ins", in)
		}
	}
	e, ok := (checkin{ID: "x", CreatedAt: 1760791792}).Entry()
	if !ok || e.Title != "A place that Foursquare does not list any more" || e.Page != "" {
		t.Errorf("a check-in without a venue: %+v", e)
	}
}
