package oauth

import (
	"net/http"
	"testing"

	"cairn/db/dbtest"
)

// Answers come in any order, and some after a window has turned: no count becomes lower by them.
func TestAnswersOutOfOrder(t *testing.T) {
	t.Parallel()
	s := New(dbtest.New(t), nil, Options{})
	c := s.caller(Strava(App{}))
	ctx := t.Context()
	before, err := c.reserve(ctx, "data", one)
	if err != nil {
		t.Fatal(err)
	}
	// What follows happens in a window that stays, whatever the clock does.
	_, err = s.pool.Exec(ctx, `
		UPDATE cairn.budgets SET quarter = 'epoch', quarter_used = 4, day = 'epoch', day_used = 4`)
	if err != nil {
		t.Fatal(err)
	}
	now := permit{}
	err = s.pool.QueryRow(ctx, `SELECT 'epoch'::timestamptz, 'epoch'::timestamptz`).Scan(&now.quarter, &now.day)
	if err != nil {
		t.Fatal(err)
	}
	for _, answer := range []struct {
		p                     permit
		limit, usage          string
		readLimit, readUsage  string
		quarter, day          int // used after it
		quarterMax, dayMaxNow int
	}{
		{now, "200,2000", "9,50", "100,1000", "9,50", 9, 50, 100, 1000},
		{now, "200,2000", "7,48", "100,1000", "7,48", 9, 50, 100, 1000},       // overtaken
		{now, "600,6000", "12,53", "300,3000", "12,53", 12, 53, 300, 3000},    // we were given more
		{now, "600,6000", "580,700", "300,3000", "12,53", 280, 53, 300, 3000}, // somebody uploads with our keys
		{now, "600,6000", "590,700", "", "", 290, 53, 300, 3000},
		{before, "600,6000", "600,6000", "300,3000", "300,3000", 290, 53, 300, 3000}, // about a window that is over
		{now, "600,6000", "601,701", "300,3000", "301,54", 301, 54, 300, 3000},
	} {
		header := http.Header{}
		header.Set("X-Ratelimit-Limit", answer.limit)
		header.Set("X-Ratelimit-Usage", answer.usage)
		header.Set("X-Readratelimit-Limit", answer.readLimit)
		header.Set("X-Readratelimit-Usage", answer.readUsage)
		if err := c.learn(ctx, answer.p, header, nil); err != nil {
			t.Fatal(err)
		}
		var quarter, quarterMax, day, dayMax int
		err := s.pool.QueryRow(ctx, `
			SELECT quarter_used, quarter_limit, day_used, day_limit
			FROM cairn.budgets WHERE provider = 'strava'`).Scan(&quarter, &quarterMax, &day, &dayMax)
		if err != nil || quarter != answer.quarter || day != answer.day ||
			quarterMax != answer.quarterMax || dayMax != answer.dayMaxNow {
			t.Errorf("after %v: %d of %d and %d of %d (error %v), want %d of %d and %d of %d",
				header, quarter, quarterMax, day, dayMax, err,
				answer.quarter, answer.quarterMax, answer.day, answer.dayMaxNow)
		}
	}
}
