package activity

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"time"

	"cairn/internal/text"
)

// List reads entries from a provider's list of T. An entry that can't be read is left out; if none can be read, that is
// an error.
type List[T interface{ Entry() (Entry, bool) }] []Entry

// UnmarshalJSON implements json.Unmarshaler.
func (l *List[T]) UnmarshalJSON(text []byte) error {
	var list []json.RawMessage
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	unread := 0
	for _, raw := range list {
		var item T
		if json.Unmarshal(raw, &item) != nil {
			unread++
		} else if e, ok := item.Entry(); ok {
			*l = append(*l, e)
		}
	}
	if list == nil || unread > 0 && unread == len(list) {
		return errors.New("activity: no list of entries")
	}
	return nil
}

// MaxText is how many characters of a title, a place or an id are kept.
const MaxText = 120

// Text makes a title or a place fit to be shown.
func Text(s string) string { return text.Clean(MaxText, s) }

// Plausible reports whether something can have happened at that time.
func Plausible(at time.Time) bool { return at.Year() >= 1990 && at.Year() < 2100 }

// Offset returns an offset from UTC in whole seconds. One that is found nowhere on Earth counts as 0.
func Offset(seconds float64) int {
	if math.Abs(seconds) > 18*3600 {
		return 0
	}
	return int(seconds)
}

// Metres returns a length. A negative one counts as 0.
func Metres(n float64) float64 { return math.Max(0, n) }

// Amount is a plausible positive number; anything else is 0.
type Amount float64

// UnmarshalJSON implements json.Unmarshaler.
func (a *Amount) UnmarshalJSON(text []byte) error {
	if f, err := strconv.ParseFloat(string(text), 64); err == nil && f > 0 && f < 1e7 {
		*a = Amount(f)
	}
	return nil
}

// Seconds returns a duration. One that makes no sense counts as 0.
func Seconds(n json.Number) int {
	f, err := n.Float64()
	if err != nil || f < 0 || f > 1e8 {
		return 0
	}
	return int(f)
}
