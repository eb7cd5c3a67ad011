package oauth

import "testing"

func TestReadableTokens(t *testing.T) {
	t.Parallel()
	for expires, want := range map[string]string{
		`3600`:                `3600`,
		`"3600"`:              `3600`,
		`3599.9`:              `3599`,
		`3.6e3`:               `3600`,
		`9223372036854775807`: `2147483647`,
		`"Inf"`:               `2147483647`,
		`1e999`:               ``,
		`"NaN"`:               ``,
		`0`:                   ``,
		`-1`:                  ``,
		`0.5`:                 ``,
		`null`:                ``,
		`"soon"`:              ``,
		`{}`:                  ``,
		`[3600]`:              ``,
		`true`:                ``,
	} {
		got, ok := readableTokens([]byte(`{"access_token":"a","expires_in":` + expires + `}`))
		complete := `{"access_token":"a"}`
		if want != "" {
			complete = `{"access_token":"a","expires_in":` + want + `}`
		}
		if string(got) != complete || !ok {
			t.Errorf("expires_in %s became %s, want %s", expires, got, complete)
		}
	}
	athlete, _ := readableTokens([]byte(`{"athlete": {"id": 9007199254740993}}`))
	if string(athlete) != `{"athlete":"{\"id\": 9007199254740993}"}` {
		t.Errorf("an athlete became %s", athlete)
	}
	for _, body := range []string{``, `null`, `[]`, `access_token=a`, `<html>`, `{"access_token":"a"`} {
		if got, ok := readableTokens([]byte(body)); ok {
			t.Errorf("%s became %s", body, got)
		}
	}
}
