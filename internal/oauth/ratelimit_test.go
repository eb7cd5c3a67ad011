package oauth

import (
	"net/http"
	"testing"

	"cairn/db/dbtest"
)

func limited(quarter, day, quarterLeft, dayLeft int) RateLimit {
	return RateLimit{QuarterLimit: &quarter, DayLimit: &day, QuarterLeft: &quarterLeft, DayLeft: &dayLeft}
}

// Answers come in any order, and some after their window has ended. They never lower a count.
func TestAnswersOutOfOrder(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	c := NewClient(pool, Options{}).At(&Provider{Key: "strava"})
	ctx := t.Context()
	before, err := c.reserve(ctx, "data", single)
	if err != nil {
		t.Fatal(err)
	}
	// From here on, the windows stay the same, whatever the clock does.
	_, err = pool.Exec(ctx, `
		UPDATE cairn.budgets SET quarter = 'epoch', quarter_used = 4, day = 'epoch', day_used = 4`)
	if err != nil {
		t.Fatal(err)
	}
	now := windows{}
	err = pool.QueryRow(ctx, `SELECT 'epoch'::timestamptz, 'epoch'::timestamptz`).Scan(&now.quarter, &now.day)
	if err != nil {
		t.Fatal(err)
	}
	for _, answer := range []struct {
		w                     windows
		limit                 RateLimit
		quarter, day          int // used after it
		quarterMax, dayMaxNow int
	}{
		{now, limited(100, 1000, 91, 950), 9, 50, 100, 1000},
		{now, limited(100, 1000, 93, 952), 9, 50, 100, 1000},    // overtaken
		{now, limited(300, 3000, 288, 2947), 12, 53, 300, 3000}, // we were given more
		{now, limited(300, 3000, 20, 2947), 280, 53, 300, 3000}, // another program uses our keys
		{now, RateLimit{QuarterLeft: new(10), DayLeft: new(5300)}, 290, 53, 300, 3000},
		{before, limited(300, 3000, 0, 0), 290, 53, 300, 3000}, // about a window that is over
		{now, limited(300, 3000, -1, 2946), 301, 54, 300, 3000},
	} {
		c.RateLimit = func(http.Header) RateLimit { return answer.limit }
		if err := c.update(ctx, answer.w, nil, nil); err != nil {
			t.Fatal(err)
		}
		var quarter, quarterMax, day, dayMax int
		err := pool.QueryRow(ctx, `
			SELECT quarter_used, quarter_limit, day_used, day_limit
			FROM cairn.budgets WHERE provider = 'strava'`).Scan(&quarter, &quarterMax, &day, &dayMax)
		if err != nil || quarter != answer.quarter || day != answer.day ||
			quarterMax != answer.quarterMax || dayMax != answer.dayMaxNow {
			t.Errorf("after %v: %d of %d and %d of %d (error %v), want %d of %d and %d of %d",
				answer.limit, quarter, quarterMax, day, dayMax, err,
				answer.quarter, answer.quarterMax, answer.day, answer.dayMaxNow)
		}
	}
}
