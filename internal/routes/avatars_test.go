package routes_test

import (
	"bytes"
	"image"
	_ "image/jpeg"
	"testing"

	"cairn/internal/testkit"
)

// A person's picture is served by us, to them alone, and is deleted with its connection.
func TestAvatars(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, options{works: true})
	visitor := newBrowser(t, s)
	visitor.get("/avatar").want(303, "", "")
	b := signedUp(t, s, "ada@example.org")
	initials := b.get("/avatar")
	if initials.header.Get("Content-Type") != "image/svg+xml" ||
		initials.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("without a picture: %v", initials.header)
	}
	b.connect("strava", "ada").to("/")
	b.connect("garmin", "ada").to("/") // which has no pictures
	for _, path := range []string{"/avatar", "/avatars/strava"} {
		testkit.Eventually(t, path+" is the picture", func() bool {
			return b.get(path).header.Get("Content-Type") == "image/jpeg"
		})
	}
	a := b.get("/avatars/strava")
	config, _, err := image.DecodeConfig(bytes.NewReader([]byte(a.body)))
	if err != nil || config.Width != 256 || config.Height != 256 {
		t.Errorf("%d × %d, error %v", config.Width, config.Height, err)
	}
	if a.header.Get("Cache-Control") != "private, max-age=600" || a.header.Get("Vary") != "Cookie" {
		t.Errorf("others could get it from a cache: %v", a.header)
	}
	if kind := b.get("/avatars/garmin").header.Get("Content-Type"); kind != "image/svg+xml" {
		t.Errorf("Garmin's is %s", kind)
	}
	b.get("/avatars/nobody").want(404, "h1", "")
	max := signedUp(t, s, "max@example.org")
	if kind := max.get("/avatars/strava").header.Get("Content-Type"); kind != "image/svg+xml" {
		t.Errorf("someone else gets %s", kind)
	}
	_, err = s.pool.Exec(t.Context(), `UPDATE cairn.avatars SET fetched_at = now() - interval '8 days'`)
	if err != nil {
		t.Fatal(err)
	}
	if kind := b.get("/avatars/strava").header.Get("Content-Type"); kind != "image/svg+xml" {
		t.Errorf("after eight days it is %s", kind)
	}
	if _, err := s.connections.SweepPictures(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, `SELECT count(*) FROM cairn.avatars WHERE image IS NOT NULL`); n != 0 {
		t.Errorf("%d pictures are kept after eight days", n)
	}
	b.post("/connections/strava/disconnect").to("/connections#card-strava")
	if n := count(t, s, `SELECT count(*) FROM cairn.avatars`); n != 0 {
		t.Errorf("%d rows are left of what is disconnected", n)
	}
}

// A picture is fetched once a day, and not for a connection that has to be reconnected.
func TestPicturesAreDueOnceADay(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, options{works: true})
	b := signedUp(t, s, "ada@example.org")
	b.connect("strava", "ada").to("/")
	fetched := func() int { return count(t, s, `SELECT count(*) FROM cairn.avatars WHERE image IS NOT NULL`) }
	testkit.Eventually(t, "the picture is there", func() bool { return fetched() == 1 })
	due := func() int {
		total := 0
		for _, p := range s.providers {
			subjects, err := s.connections.PicturesDue(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			total += len(subjects)
		}
		return total
	}
	for _, tt := range []struct {
		sql  string
		want int
	}{
		{`UPDATE cairn.avatars SET tried_at = now() - interval '23 hours'`, 0},
		{`UPDATE cairn.avatars SET tried_at = now() - interval '25 hours'`, 1},
		{`UPDATE cairn.connections SET state = 'needs_reconnect'`, 0},
		{`UPDATE cairn.connections SET state = 'active', picture_url = ''`, 0},
	} {
		if _, err := s.pool.Exec(t.Context(), tt.sql); err != nil {
			t.Fatal(err)
		}
		if n := due(); n != tt.want {
			t.Errorf("%s: %d are due, want %d", tt.sql, n, tt.want)
		}
	}
	if _, err := s.connections.SweepPictures(t.Context()); err != nil || fetched() != 0 {
		t.Errorf("the picture is still there after the person removed it at the provider (error %v)", err)
	}
}
