package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
	"golang.org/x/oauth2"

	"cairn/internal/auth"
	"cairn/internal/connection"
	"cairn/internal/text"
)

// batch imports some rows in one transaction. It locks accounts at providers, then users, then connections, as all
// transactions do (package session). A dry one looks at the same things, locks nothing and writes nothing.
type batch struct {
	*Importer
	tx     pgx.Tx
	dry    bool
	own    bool // the rows are in this database
	people []person
	shared map[int64]bool // Strava accounts of several rows

	known   map[int64]known // by row
	users   map[int64]int64 // the user of each row that has one, 0 for one that a dry run would make
	taken   map[int64][]string
	done    Summary
	refused map[int64]string // why, by row
}

func (b *batch) run(ctx context.Context) (err error) {
	b.done.Rows = len(b.people)
	// PostgreSQL plans our statements once, in the first batches, when the tables may be empty. It would go on reading
	// whole tables while they grow.
	if _, err := b.tx.Exec(ctx, `SELECT set_config('enable_seqscan', 'off', true)`); err != nil {
		return fmt.Errorf("node: prepare a batch: %w", err)
	}
	if b.known, err = readKnown(ctx, b.tx, b.people); err != nil {
		return err
	}
	changed := slices.DeleteFunc(slices.Clone(b.people), func(p person) bool { return b.known[p.id].upToDate(p) })
	if len(changed) == 0 {
		b.count(nil)
		return nil
	}
	if err := b.lock(ctx, changed); err != nil {
		return err
	}
	if err := b.makeUsers(ctx, changed); err != nil {
		return err
	}
	touched, err := b.importConnections(ctx, changed)
	if err != nil {
		return err
	}
	if err := b.updateLinks(ctx, changed, touched); err != nil {
		return err
	}
	b.count(touched)
	return nil
}

// count counts the rows that brought nothing.
func (b *batch) count(touched map[int64]bool) {
	for _, p := range b.people {
		k, there := b.known[p.id]
		switch {
		case there && k.userID == 0:
			b.done.Deleted++
		case there && !touched[p.id] && b.refused[p.id] == "":
			b.done.Unchanged++
		}
	}
}

// lock locks what the rows are about: first all accounts at providers, then the users who are known already. After that
// what is known of them is read again.
func (b *batch) lock(ctx context.Context, changed []person) (err error) {
	if b.dry {
		return nil
	}
	subjectsAt := map[string]func(person) string{foursquare: person.foursquare, strava: person.athlete}
	subjects := map[string][]string{}
	for provider, subject := range subjectsAt {
		for _, p := range changed {
			if s := subject(p); s != "" {
				subjects[provider] = append(subjects[provider], s)
			}
		}
		if err := auth.LockIdentities(ctx, b.tx, provider, subjects[provider]...); err != nil {
			return err
		}
	}
	// Somebody who has the Foursquare account of a new row may delete the account just now.
	owned, err := auth.OwnedBy(ctx, b.tx, foursquare, subjects[foursquare])
	if err != nil {
		return err
	}
	var users []int64
	for _, o := range owned {
		users = append(users, o.UserID)
	}
	for _, p := range changed {
		if id := b.known[p.id].userID; id != 0 {
			users = append(users, id)
		}
	}
	if err := auth.LockUsers(ctx, b.tx, users); err != nil {
		return err
	}
	b.known, err = readKnown(ctx, b.tx, b.people)
	return err
}

// makeUsers finds or makes the user of each row.
func (b *batch) makeUsers(ctx context.Context, changed []person) error {
	var fresh, deleted []person
	var newcomers []auth.Newcomer
	b.users = map[int64]int64{}
	for _, p := range changed {
		k, there := b.known[p.id]
		switch {
		case k.unnoted:
			deleted = append(deleted, p)
		case there && k.userID == 0: // deleted here
		case there && !k.isOf(p):
			b.refuse(p, otherPerson)
		case there:
			b.users[p.id] = k.userID
		case p.foursquare() == "":
			b.refuse(p, noFoursquareID)
		default:
			fresh = append(fresh, p)
			newcomers = append(newcomers,
				auth.Newcomer{Name: p.displayName(), AvatarURL: p.picture(), Subject: p.foursquare()})
		}
	}
	if err := b.noteDeleted(ctx, deleted); err != nil {
		return err
	}
	owned, err := b.importPeople(ctx, newcomers)
	if err != nil {
		return err
	}
	for _, p := range fresh {
		o, there := owned[p.foursquare()]
		b.users[p.id] = o.UserID
		if b.done.Joined++; o.Made || !there {
			b.done.Joined--
			b.done.Made++
		}
	}
	return b.insertKnown(ctx, fresh)
}

func (b *batch) importPeople(ctx context.Context, newcomers []auth.Newcomer) (map[string]auth.Owned, error) {
	if !b.dry {
		return auth.Import(ctx, b.tx, foursquare, newcomers)
	}
	var subjects []string
	for _, n := range newcomers {
		subjects = append(subjects, n.Subject)
	}
	return auth.OwnedBy(ctx, b.tx, foursquare, subjects)
}

// importConnections imports the connections of the rows, and returns the rows to which anything happened.
func (b *batch) importConnections(ctx context.Context, changed []person) (touched map[int64]bool, err error) {
	var users []int64
	for _, id := range b.users {
		users = append(users, id)
	}
	if b.taken, err = connection.ProvidersOf(ctx, b.tx, users); err != nil {
		return nil, err
	}
	touched = map[int64]bool{}
	for _, p := range changed {
		touched[p.id] = b.known[p.id].isNew()
	}
	for _, o := range origins {
		var offers []offer
		for _, p := range changed {
			if o, ok := b.offer(p, o); ok {
				offers = append(offers, o)
			}
		}
		noted, err := b.importOffers(ctx, o, offers)
		if err != nil {
			return nil, err
		}
		for _, n := range noted {
			touched[n.row] = touched[n.row] || !n.unchanged
		}
		if err := b.noteConnections(ctx, o.provider, noted); err != nil {
			return nil, err
		}
	}
	return touched, nil
}

// foursquare returns the id of the row's Foursquare account, "" if it can't be stored.
func (p person) foursquare() string { return subjectOf(p.foursquareID) }

// athlete returns the id of the row's Strava account, "" if the row has none.
func (p person) athlete() string {
	if p.athleteID <= 0 {
		return ""
	}
	return strconv.FormatInt(p.athleteID, 10)
}

func subjectOf(id string) string {
	odd := slices.ContainsFunc([]byte(id), func(c byte) bool { return c <= ' ' || c > '~' })
	if odd || len(id) > 255 || !auth.KnownSubject(id) {
		return ""
	}
	return id
}

// maxName is how many characters of a name are kept.
const maxName = 100

func (p person) displayName() string { return text.Clean(maxName, p.name) }

// maxPicture is how long the address of a picture may be.
const maxPicture = 2048

func (p person) picture() string {
	u, err := url.Parse(p.avatarURL)
	if err != nil || u.Scheme != "https" || u.Host == "" || len(p.avatarURL) > maxPicture {
		return ""
	}
	return p.avatarURL
}

// offer is what a row offers for a connection that is not here yet, or has newer tokens.
type offer struct {
	person
	sealed  string
	token   *oauth2.Token // nil: why says why there is none
	why     string
	subject string
	// noted says that an earlier import has taken one, which made or renewed this generation of ours; 0: none of ours.
	noted      bool
	generation int64
}

// offer returns what a row offers of one origin, if there is anything to do about it.
func (b *batch) offer(p person, from origin) (offer, bool) {
	_, has := b.users[p.id]
	sealed := p.sealed[from.provider]
	c, noted := b.known[p.id].connections[from.provider]
	if !has || sealed == "" || noted && (c.ended || bytes.Equal(c.textHash, digest(sealed))) {
		return offer{}, false
	}
	o := offer{person: p, sealed: sealed, subject: from.subject(p), noted: noted, generation: c.generation}
	if o.subject == "" {
		o.subject, o.why = auth.UnknownSubject(p.id), accountUnknown
		return o, true
	}
	token, err := from.open(b.keys, sealed)
	switch {
	case errors.Is(err, errSealed):
		o.why = noKeyOpens
	case err != nil:
		o.why = holdsNoToken
	}
	o.token = token
	return o, true
}

// refuse counts a row once for each reason, and remembers them.
func (b *batch) refuse(p person, why string) {
	if b.refused == nil {
		b.refused = map[int64]string{}
	}
	b.done.Refused[why]++
	if b.refused[p.id] != "" {
		why = b.refused[p.id] + "; " + why
	}
	b.refused[p.id] = why
}
