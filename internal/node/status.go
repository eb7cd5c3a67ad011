package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db"
	"cairn/internal/admin"
	"cairn/internal/config"
)

// Status is how far the change-over has come. Its JSON is a promise: docs/operations.md lists the fields.
type Status struct {
	NodeUsers   *int           `json:"node_users"`   // rows of public.users; nil: there is no such table
	NotImported *int           `json:"not_imported"` // those of them that no import has taken
	Accounts    int            `json:"accounts"`     // here, of people who came from there
	Reconnect   map[string]int `json:"reconnect"`    // connections of these people that need their owners, by provider
	Unconfirmed int            `json:"unconfirmed"`  // Strava accounts that don't sign in until their owners allow it
	Links       int            `json:"links"`        // private links that work
	LinksUsed   int            `json:"links_used"`   // in the last 7 days
	OnlyLink    int            `json:"only_link"`    // people whose only sign-in method is a private link that works
	NoMethod    int            `json:"no_method"`    // people with none
	Adopted     []AdoptedOn    `json:"adopted"`      // the last 7 days
	NotAdopted  *int           `json:"not_adopted"`  // sessions of imported people there; nil: they can't be read
	Deleted     int            `json:"deleted"`      // people who deleted their account here
	DeletedIDs  []int64        `json:"deleted_ids"`  // their ids at the Node server, at most 1000
	Import      bool           `json:"import"`       // NODE_IMPORT is on
	ImportedAt  *time.Time     `json:"imported_at"`  // when the last import finished; nil: none has
	LinksEnd    *End           `json:"links_end"`    // nil: NODE_LINKS_UNTIL is not set
	SessionsEnd *End           `json:"sessions_end"` // nil: NODE_SESSIONS_UNTIL is not set
	Losses      []string       `json:"losses"`       // by switching the Node server off now, as sentences
}

// AdoptedOn is how many sessions were adopted on a day in UTC.
type AdoptedOn struct {
	Day      string `json:"day"`
	Sessions int    `json:"sessions"`
}

// End is the last day of something.
type End struct {
	Day      string `json:"day"`
	DaysLeft int    `json:"days_left"` // after today; below 0: it is over
	day      time.Time
}

// endOn returns the last day before until, nil if until is zero.
func endOn(until, now time.Time) *End {
	if until.IsZero() {
		return nil
	}
	day := until.UTC().Add(-time.Second).Truncate(24 * time.Hour)
	left := day.Sub(now.UTC().Truncate(24*time.Hour)).Hours() / 24
	return &End{day.Format(time.DateOnly), int(math.Round(left)), day}
}

func (e *End) open() bool { return e != nil && e.DaysLeft >= 0 }

// blank reports whether there is no trace of a Node server.
func (s Status) blank() bool { return s.NodeUsers == nil && s.Accounts == 0 && s.Deleted == 0 }

func statusCommand(ctx context.Context, e admin.Env, out io.Writer) error {
	asJSON, err := admin.ParseListing(e.Args)
	if err != nil {
		return err
	}
	return e.Database(ctx, func(c config.Config, pool *pgxpool.Pool) error {
		s, err := readStatus(ctx, c, pool)
		switch {
		case err != nil:
			return err
		case asJSON:
			return json.NewEncoder(out).Encode(s)
		case s.blank():
			_, err := fmt.Fprintf(out, "There is nothing to tell: %v, and nobody was imported.\n", errNoUsers)
			return err
		}
		s.write(out)
		return nil
	})
}

// readStatus counts everything as of one moment.
func readStatus(ctx context.Context, c config.Config, pool *pgxpool.Pool) (Status, error) {
	s := Status{Import: c.Node.Import, Reconnect: map[string]int{}, DeletedIDs: []int64{}}
	from, err := openSource(ctx, pool)
	hasUsers := err == nil
	if err != nil && !errors.Is(err, errNoUsers) {
		return Status{}, err
	}
	sessions := express{c.Node.Sessions}
	err = sessions.probe(ctx, pool)
	hasSessions := err == nil
	if err != nil && db.Unavailable(err) {
		return Status{}, err
	}
	err = readSnapshot(ctx, pool, countTime, func(ctx context.Context, tx pgx.Tx) error {
		// The first reads what the windows are, by the database's clock.
		counts := []func(context.Context, pgx.Tx, config.Config) error{
			s.countPeople, s.countAccounts, s.countWaysIn, s.countAdopted,
		}
		if hasUsers {
			counts = append(counts, func(ctx context.Context, tx pgx.Tx, _ config.Config) error {
				s.NodeUsers, s.NotImported = new(int), new(int)
				return from.compare(ctx, tx, s.NodeUsers, s.NotImported)
			})
		}
		if hasSessions {
			counts = append(counts, func(ctx context.Context, tx pgx.Tx, _ config.Config) error {
				waiting, err := sessions.waiting(ctx, tx)
				s.NotAdopted = &waiting
				return err
			})
		}
		for _, count := range counts {
			if err := count(ctx, tx, c); err != nil {
				return err
			}
		}
		return nil
	})
	s.Losses = s.losses()
	return s, err
}

// write prints a status for people.
func (s Status) write(out io.Writer) {
	line := func(n int, words string) { _, _ = fmt.Fprintf(out, "%9d %s\n", n, words) }
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) }
	if s.NodeUsers != nil {
		line(*s.NodeUsers, "users at the Node server")
		line(*s.NotImported, "of them are not imported")
	}
	line(s.Accounts, "accounts here came from it")
	for _, provider := range slices.Sorted(maps.Keys(s.Reconnect)) {
		line(s.Reconnect[provider], "of their connections to "+provider+" need their owners")
	}
	line(s.Unconfirmed, "Strava accounts don't sign in until their owners allow it")
	line(s.Links, "private links work")
	line(s.LinksUsed, "private links were used in the last 7 days")
	for _, on := range s.Adopted {
		line(on.Sessions, "sessions of the Node server were adopted on "+on.Day)
	}
	if s.NotAdopted != nil {
		line(*s.NotAdopted, "sessions there are alive and not adopted yet")
	}
	line(s.Deleted, "people deleted their account here (--json has their ids there)")
	say("")
	say("%s", s.importWords())
	say("%s", s.LinksEnd.words("Private links work", "Private links don't work", "NODE_LINKS_UNTIL"))
	say("%s", s.SessionsEnd.words("Sessions are adopted", "Sessions are not adopted", "NODE_SESSIONS_UNTIL"))
	say("")
	if len(s.Losses) == 0 {
		say("Nothing would be lost by switching the Node server off today.")
		return
	}
	say("By switching the Node server off today:")
	for _, loss := range s.Losses {
		say("  %s", loss)
	}
}

func (s Status) importWords() string {
	words := "No import has finished yet"
	if s.ImportedAt != nil {
		words = "The last import finished at " + s.ImportedAt.UTC().Format(time.RFC3339)
	}
	if s.Import {
		return words + "; NODE_IMPORT is on."
	}
	return words + "; NODE_IMPORT is off."
}

// words says when something ends that the variable turns on, or that it is off.
func (e *End) words(on, off, variable string) string {
	switch {
	case e == nil:
		return fmt.Sprintf("%s: %s is not set.", off, variable)
	case !e.open():
		return fmt.Sprintf("%s any more: %s was the last day.", off, e.Day)
	case e.DaysLeft == 0:
		return on + " until today."
	}
	return fmt.Sprintf("%s until %s: %s left.", on, e.Day, admin.Plural(e.DaysLeft, "day"))
}

// losses says what people would lose if the Node server were switched off now.
func (s Status) losses() []string {
	losses := []string{}
	say := func(format string, args ...any) { losses = append(losses, fmt.Sprintf(format, args...)) }
	if s.NotImported != nil && *s.NotImported > 0 {
		say("%s not imported, and would have no account.", people(*s.NotImported))
	}
	if s.OnlyLink > 0 {
		say("%s no sign-in method but a private link, which works until %s.", peopleHave(s.OnlyLink), s.LinksEnd.Day)
	}
	if s.NoMethod > 0 {
		say("%s no sign-in method here: they need keys of Foursquare, private links (NODE_LINKS_UNTIL), or "+
			"server node link.", peopleHave(s.NoMethod))
	}
	switch {
	case s.NotAdopted == nil || *s.NotAdopted == 0:
	case s.SessionsEnd.open():
		say("%s not adopted yet, which happens on the next visit until %s, as long as the table of sessions stays.",
			are(*s.NotAdopted, "session is", "sessions are"), s.SessionsEnd.Day)
	default:
		say("%s lost, because sessions are not adopted (NODE_SESSIONS_UNTIL): their people have to sign in.",
			are(*s.NotAdopted, "session is", "sessions are"))
	}
	return losses
}

func people(n int) string     { return are(n, "person is", "people are") }
func peopleHave(n int) string { return are(n, "person has", "people have") }

func are(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", many)
}
