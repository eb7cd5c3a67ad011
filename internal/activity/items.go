package activity

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"time"

	"cairn/internal/text"
)

// items are the entries in a provider's list of T. An entry that can't be read is left out; if none
// can be read, the list is no answer.
type items[T interface{ entry() (Entry, bool) }] []Entry

func (l *items[T]) UnmarshalJSON(text []byte) error {
	var list []json.RawMessage
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	unread := 0
	for _, raw := range list {
		var item T
		if json.Unmarshal(raw, &item) != nil {
			unread++
		} else if e, ok := item.entry(); ok {
			*l = append(*l, e)
		}
	}
	if list == nil || unread > 0 && unread == len(list) {
		return errors.New("activity: no list of entries")
	}
	return nil
}

// maxText is how many characters of a title or a place are kept.
const maxText = 120

func presentable(s string) string { return text.Clean(maxText, s) }

// plausible tells whether something can have happened then.
func plausible(at time.Time) bool { return at.Year() >= 1990 && at.Year() < 2100 }

// offset is of a clock on Earth, in whole seconds; anything else counts as UTC.
func offset(seconds float64) int {
	if math.Abs(seconds) > 18*3600 {
		return 0
	}
	return int(seconds)
}

func positive(n float64) float64 { return math.Max(0, n) }

// amount is a plausible positive number; anything else is 0.
type amount float64

func (a *amount) UnmarshalJSON(text []byte) error {
	if f, err := strconv.ParseFloat(string(text), 64); err == nil && f > 0 && f < 1e7 {
		*a = amount(f)
	}
	return nil
}

func seconds(n json.Number) int {
	f, err := n.Float64()
	if err != nil || f < 0 || f > 1e8 {
		return 0
	}
	return int(f)
}
