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

// ID is an id in a provider's JSON, which may be a number or a string: 7 and "7" are the same. It
// is exact whatever its size. What can't be one is "": a fraction, an object, text with spaces or
// with characters that are not visible.
type ID string

// UnmarshalJSON never fails, so that an odd id costs no more than the item it stands in.
func (id *ID) UnmarshalJSON(raw []byte) error {
	*id = ""
	var s string
	if strings.Trim(string(raw), "0123456789") == "" {
		s = string(raw)
	} else if json.Unmarshal(raw, &s) != nil {
		return nil
	}
	strange := func(r rune) bool { return r == utf8.RuneError || unicode.IsSpace(r) || !unicode.IsGraphic(r) }
	if utf8.RuneCountInString(s) <= maxID && !strings.ContainsFunc(s, strange) {
		*id = ID(s)
	}
	return nil
}

// Int64 returns the id as a positive number, if it is one as it is usually written.
func (id ID) Int64() (n int64, ok bool) {
	n, err := strconv.ParseInt(string(id), 10, 64)
	return n, err == nil && n > 0 && strconv.FormatInt(n, 10) == string(id)
}

// Unambiguous tells whether raw is JSON that all its readers read alike: it is UTF-8, and no object
// has a name twice. Names that differ in case count as the same, because encoding/json takes one
// for the other.
func Unambiguous(raw []byte) bool {
	return utf8.Valid(raw) && json.Valid(raw) && namesOnce(json.NewDecoder(bytes.NewReader(raw)))
}

// namesOnce reads one value. It can't nest too deep: json.Valid allows ten thousand.
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
