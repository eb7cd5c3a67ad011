package oauth_test

import (
	"slices"
	"testing"

	"cairn/internal/oauth"
	"cairn/internal/oauth/foursquare"
	"cairn/internal/oauth/garmin"
	"cairn/internal/oauth/strava"
)

func TestFormActionSources(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		p    *oauth.Provider
		want []string
	}{
		{strava.New(oauth.App{}), []string{"https://www.strava.com"}},
		{garmin.New(oauth.App{}), []string{"https://connect.garmin.com", "https://*.garmin.com"}},
		{foursquare.New(oauth.App{}), []string{"https://foursquare.com", "https://*.foursquare.com"}},
		{
			garmin.New(oauth.App{Endpoints: oauth.Endpoints{Authorize: "http://127.0.0.1:3001/sandbox/garmin"}}),
			[]string{"http://127.0.0.1:3001"},
		},
	} {
		if got := tt.p.AuthorizeSources(); !slices.Equal(got, tt.want) {
			t.Errorf("%s at %s: got %q, want %q", tt.p.Key, tt.p.Config.Endpoint.AuthURL, got, tt.want)
		}
	}
}

func TestPictureLinks(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ api, address, want string }{
		{"https://www.strava.com/api/v3", "https://cdn.example/large.jpg", "https://cdn.example/large.jpg"},
		{"https://www.strava.com/api/v3", "http://cdn.example/large.jpg", ""},
		{"https://www.strava.com/api/v3", "javascript:alert(1)", ""},
		{"https://www.strava.com/api/v3", "data:text/html,x", ""},
		{"https://www.strava.com/api/v3", "avatar/athlete/large.png", ""},
		{"https://www.strava.com/api/v3", "//cdn.example/x", ""},
		{
			"http://127.0.0.1:3001/sandbox/strava/api/v3",
			"http://127.0.0.1:3001/sandbox/people/large/ada.png",
			"http://127.0.0.1:3001/sandbox/people/large/ada.png",
		},
		{"http://127.0.0.1:3001/sandbox/strava/api/v3", "http://127.0.0.1:30011/x", ""},
		{"http://127.0.0.1:3001/sandbox/strava/api/v3", "http://evil.example/x", ""},
	} {
		if got := (&oauth.Provider{API: tt.api}).Link(tt.address); got != tt.want {
			t.Errorf("%s at %s became %q, want %q", tt.address, tt.api, got, tt.want)
		}
	}
}
