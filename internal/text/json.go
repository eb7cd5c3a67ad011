package text

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxID is how many characters an id has at most; the schema holds as many.
const maxID = 255

// ID is an id in a provider's JSON, which may be a number or a string: 7 and "7" are the same. It is exact in any size.
// It is "" if the value can't be an id: a fraction, an object, text with spaces or invisible characters.
type ID string

// UnmarshalJSON never fails, so that an odd id invalidates its item alone.
func (id *ID) UnmarshalJSON(raw []byte) error {
	*id = ""
	var s string
	if strings.Trim(string(raw), "0123456789") == "" {
		s = string(raw)
	} else if json.Unmarshal(raw, &s) != nil {
		return nil
	}
	invisible := func(r rune) bool { return r == utf8.RuneError || unicode.IsSpace(r) || !unicode.IsGraphic(r) }
	if utf8.RuneCountInString(s) <= maxID && !strings.ContainsFunc(s, invisible) {
		*id = ID(s)
	}
	return nil
}

// Int64 returns the id as a positive number, if it is one in the usual notation.
func (id ID) Int64() (n int64, ok bool) {
	n, err := strconv.ParseInt(string(id), 10, 64)
	return n, err == nil && n > 0 && strconv.FormatInt(n, 10) == string(id)
}

// Unambiguous reports whether all readers read raw, as JSON, in the same way: it is UTF-8, and no object has a name
// twice. Names that differ in case count as the same, as for encoding/json.
func Unambiguous(raw []byte) bool {
	return utf8.Valid(raw) && json.Valid(raw) && namesOnce(json.NewDecoder(bytes.NewReader(raw)))
}

// namesOnce reads one value. Its depth is limited by json.Valid.
func namesOnce(value *json.Decoder) bool {
	begin, _ := value.Token()
	if _, nested := begin.(json.Delim); !nested {
		return true
	}
	names := map[string]bool{}
	for value.More() {
		if begin == json.Delim('{') {
			name, _ := value.Token()
			folded := strings.ToLower(strings.ToUpper(name.(string))) // "ſ" and "K" are taken for "s" and "k" too
			if names[folded] {
				return false
			}
			names[folded] = true
		}
		if !namesOnce(value) {
			return false
		}
	}
	_, _ = value.Token()
	return true
}
