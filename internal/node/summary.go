package node

import (
	"fmt"
	"io"
	"maps"
	"slices"
)

// Why a connection needs its owner, or a row is refused.
const (
	noKeyOpens      = "no key opens its token"
	holdsNoToken    = "what was sealed is no token"
	accountUnknown  = "the row does not say whose account it is"
	noFoursquareID  = "it has no Foursquare id that can be stored"
	otherPerson     = "the row that was imported with its id is of another Foursquare account"
	sharedAthlete   = "several rows have its Strava account"
	athleteOfOthers = "its Strava account belongs to another user here"
)

// Summary is what an import did, or would do.
type Summary struct {
	Rows      int            `json:"rows"`
	Made      int            `json:"made"`      // rows that became accounts
	Joined    int            `json:"joined"`    // rows whose Foursquare account was here already
	Deleted   int            `json:"deleted"`   // rows of people who deleted their account here
	Unchanged int            `json:"unchanged"` // other rows that brought nothing
	Connected map[string]int `json:"connected"` // connections that work, by provider
	Renewed   int            `json:"renewed"`   // connections that got newer tokens
	Reconnect map[string]int `json:"reconnect"` // connections that need their owners, by reason
	Refused   map[string]int `json:"refused"`   // rows, by reason
}

func newSummary() Summary {
	return Summary{Connected: map[string]int{}, Reconnect: map[string]int{}, Refused: map[string]int{}}
}

// add adds what a batch did.
func (s *Summary) add(b Summary) {
	s.Rows, s.Made, s.Joined = s.Rows+b.Rows, s.Made+b.Made, s.Joined+b.Joined
	s.Deleted, s.Unchanged, s.Renewed = s.Deleted+b.Deleted, s.Unchanged+b.Unchanged, s.Renewed+b.Renewed
	for _, counts := range []struct{ to, from map[string]int }{
		{s.Connected, b.Connected}, {s.Reconnect, b.Reconnect}, {s.Refused, b.Refused},
	} {
		for why, n := range counts.from {
			counts.to[why] += n
		}
	}
}

// Empty reports whether an import found nothing to do.
func (s Summary) Empty() bool { return s.Rows == s.Unchanged+s.Deleted && len(s.Refused) == 0 }

// write prints a summary for people.
func (s Summary) write(out io.Writer) {
	line := func(n int, words string) { _, _ = fmt.Fprintf(out, "%9d %s\n", n, words) }
	line(s.Rows, "rows read")
	line(s.Made, "became accounts")
	line(s.Joined, "were found here, by their Foursquare account")
	line(s.Unchanged, "brought nothing new")
	line(s.Deleted, "belong to people who deleted their account here, and stay away")
	for _, provider := range slices.Sorted(maps.Keys(s.Connected)) {
		line(s.Connected[provider], "connections to "+provider+" work")
	}
	line(s.Renewed, "connections got newer tokens")
	for _, why := range slices.Sorted(maps.Keys(s.Reconnect)) {
		line(s.Reconnect[why], "connections need their owners: "+why)
	}
	for _, why := range slices.Sorted(maps.Keys(s.Refused)) {
		line(s.Refused[why], "rows are refused: "+why)
	}
}
