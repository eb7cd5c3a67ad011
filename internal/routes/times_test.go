package routes

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestTimesInWords(t *testing.T) {
	t.Parallel()
	tokyo, err := time.LoadLocation("Asia/Tokyo")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 24, 15, 30, 0, 0, time.UTC) // half past midnight in Tokyo, on the 25th
	for _, tt := range []struct {
		ago  time.Duration
		zone *time.Location
		want string
	}{
		{-time.Second, time.UTC, "just now"},
		{59 * time.Second, tokyo, "just now"},
		{12*time.Minute + 59*time.Second, tokyo, "12 min ago"},
		{59 * time.Minute, tokyo, "59 min ago"},
		{time.Hour, tokyo, "yesterday, 23:30"},
		{time.Hour, time.UTC, "today, 14:30 UTC"},
		{24 * time.Hour, tokyo, "yesterday, 00:30"},
		{24*time.Hour + 31*time.Minute, tokyo, "23 Nov"},
		{48 * time.Hour, time.UTC, "22 Nov"},
		{365 * 24 * time.Hour, time.UTC, "24 Nov 2025"},
	} {
		if got := agoInWords(now.Add(-tt.ago).In(tt.zone), now); got != tt.want {
			t.Errorf("%v ago in %s: %q, want %q", tt.ago, tt.zone, got, tt.want)
		}
	}
	const want = `<time datetime="2026-11-25T00:30:00+09:00" ` +
		`title="Wednesday 25 November 2026, 00:30:00 JST">25 Nov 2026, 00:30</time>`
	if got := string(date(now.In(tokyo))); got != want {
		t.Errorf("got %s", got)
	}
	if got := string(date(now)); !strings.Contains(got, ">24 Nov 2026, 15:30 UTC<") {
		t.Errorf("UTC is not named: %s", got)
	}
	saoPaulo, err := time.LoadLocation("America/Sao_Paulo")
	if err != nil {
		t.Fatal(err)
	}
	if got := exactly(now.In(saoPaulo)); got != "Tuesday 24 November 2026, 12:30:00 UTC−3" {
		t.Errorf("a zone without a name of its own: %q", got)
	}
}

// Each zone that can be chosen is known to the server.
func TestZonesToChooseFrom(t *testing.T) {
	t.Parallel()
	options, lines := string(zoneOptions()), bufio.NewScanner(strings.NewReader(zonesText))
	n := 0
	for lines.Scan() {
		name := lines.Text()
		if strings.HasPrefix(name, "#") {
			continue
		}
		n++
		if _, err := time.LoadLocation(name); err != nil || !strings.Contains(options, `<option value="`+name+`">`) {
			t.Errorf("%q can't be chosen (error %v)", name, err)
		}
	}
	if n < 400 || strings.Count(options, "<optgroup") != strings.Count(options, "</optgroup>") {
		t.Errorf("%d zones", n)
	}
}

func TestUnitsByLanguage(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"": "metric", "en-GB,en;q=0.9": "metric", "de-DE,en-US;q=0.7": "metric", "en": "metric", "*": "metric",
		"en-US,en;q=0.9": "imperial", "EN-us": "imperial", "en-LR": "imperial",
		"my;q=0.8": "imperial", "my-MM": "imperial",
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Accept-Language", header)
		if got := unitsOf(r); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}
