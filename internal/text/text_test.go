package text

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ first, last, want string }{
		{"Ada", "Example", "Ada Example"},
		{"", "", ""},
		{" Moss ", "", "Moss"},
		{"", "李", "李"},
		{"a\tb\u2028c", "", "a b c"},
		{"Nu\x00l\r\n", "x", "Nul x"},
		{"a\u202eb\u2066c", "", "abc"},
		{"👩‍👩‍👧‍👦", "Z\u0351\u036b", "👩‍👩‍👧‍👦 Z\u0351\u036b"},
		{"\xff", "x", "\ufffd x"},
		{strings.Repeat("ü", 5000), "", strings.Repeat("ü", 100)},
		{strings.Repeat("ü", 99) + " x", "", strings.Repeat("ü", 99)},
	} {
		if got := Clean(100, tt.first, tt.last); got != tt.want {
			t.Errorf("%q, %q became %q, want %q", tt.first, tt.last, got, tt.want)
		}
	}
}

func TestID(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]ID{
		`7`: "7", `"7"`: "7", `0`: "0",
		`9007199254740993`: "9007199254740993", `"9007199254740993"`: "9007199254740993",
		`123456789012345678901234567890`: "123456789012345678901234567890",
		`"d3315b10-72e8"`:                "d3315b10-72e8", `"李"`: "李",
		`null`: "", `""`: "", `7.0`: "", `7e3`: "", `-7`: "", `true`: "", `{}`: "", `[7]`: "",
		`"a\u0000b"`: "", `"a b"`: "", `"7\n"`: "", `"\ud800"`: "", "\"\xff\"": "", `"a\u202eb"`: "", `"a\u200bb"`: "",
		`"` + strings.Repeat("ü", 255) + `"`: ID(strings.Repeat("ü", 255)),
		`"` + strings.Repeat("ü", 256) + `"`: "", strings.Repeat("7", 256): "",
	} {
		item := struct{ ID ID }{"before"}
		if err := json.Unmarshal([]byte(`{"id":`+raw+`}`), &item); err != nil || item.ID != want {
			t.Errorf("%s became %q, want %q; error %v", raw, item.ID, want, err)
		}
	}
}

func TestIDInt64(t *testing.T) {
	t.Parallel()
	for id, want := range map[ID]int64{"7": 7, "9223372036854775807": 9223372036854775807,
		"": 0, "0": 0, "-7": 0, "+7": 0, "07": 0, "7.0": 0, "x": 0, "9223372036854775808": 0} {
		if n, ok := id.Int64(); ok != (want > 0) || ok && n != want {
			t.Errorf("%q is %d, %t; want %d", id, n, ok, want)
		}
	}
}

func TestUnambiguous(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]bool{
		`7`: true, `{}`: true, `{"a":{"a":1},"b":[{"a":1},{"a":2}]}`: true,
		`["a","a"]`: true, `{"a":"b","b":"a"}`: true,
		`{"a":1,"a":1}`: false, `{"userId":1,"USERID":2}`: false, `{"s":1,"ſ":2}`: false, `{"k":1,"\u212a":2}`: false,
		`[[{"a":[{"b":1,"b":2}]}]]`: false,
		`{"a":1,"\u0061":2}`:        false, "{\"a\":\"\xff\"}": false, `{`: false, ``: false, `7 7`: false,
		strings.Repeat("[", 1e6) + strings.Repeat("]", 1e6): false,
	} {
		if got := Unambiguous([]byte(raw)); got != want {
			t.Errorf("%.40s: %t, want %t", raw, got, want)
		}
	}
}

// FuzzClean looks for text that is shown although PostgreSQL does not take it, or that grows.
func FuzzClean(f *testing.F) {
	for _, seed := range []string{"", "Ada", "a\x00b", "\xff\xfe", "\u202eevil", "a\r\nb", "e\u0301", "\u2028"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		clean := Clean(100, s)
		if !Valid(clean) || strings.ContainsAny(clean, "\r\n\t") ||
			utf8.RuneCountInString(clean) > 100 || Clean(100, clean) != clean {
			t.Errorf("%q became %q", s, clean)
		}
	})
}
