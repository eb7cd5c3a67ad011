package oauth

import "testing"

func TestConfirms(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]bool{
		``:                                true,
		`{}`:                              true,
		`{"access_token":"a"}`:            true,
		`{"errors":[]}`:                   true,
		`<!doctype html>`:                 false,
		`{"error":"invalid_request"}`:     false,
		`{"errorMessage":"no"}`:           false,
		`{"errors":[{"code":"invalid"}]}`: false,
		`{"padding":`:                     false,
		`OK`:                              false,
	} {
		if got := confirms([]byte(body)); got != want {
			t.Errorf("%s confirms: %t, want %t", body, got, want)
		}
	}
}
