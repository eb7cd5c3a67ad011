package sandbox

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

const diaryDays = 90

// diary is what a person has been doing lately, newest first. It is made up anew each time, always the same for the
// same day, so that ids stay and new days bring new entries without anything being stored but what the control page
// has added and changed. It ends the day before yesterday: what is added is always the newest, and nothing turns up in
// the course of a day that no webhook told of.
type diary struct {
	outings []outing // Strava's activities and Garmin's, as if one watch fed both
	visits  []visit  // Foursquare's check-ins
}

func diaryOf(p person, now time.Time) diary {
	var d diary
	if p.quiet {
		return d
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(p.key))
	last := now.Unix()/86400 - 2
	for day := last; day > last-diaryDays; day-- {
		d.live(p, day, rand.New(rand.NewPCG(h.Sum64(), uint64(day))))
	}
	slices.SortStableFunc(d.visits, func(a, b visit) int { return b.at.Compare(a.at) })
	return d
}

// live adds a day: often an outing, at times a second one, some visits, and now and then a stop on the way.
func (d *diary) live(p person, day int64, dice *rand.Rand) {
	zone, id := p.location(), 16_000_000_000+day*1000+p.strava%1000
	o := newOuting(p, id, dice).at(dayAt(day, 6*3600+dice.IntN(9*3600), zone))
	evening := newOuting(p, id+300, dice).at(dayAt(day, 17*3600+dice.IntN(2*3600), zone))
	if dice.IntN(10) < 1 {
		d.outings = append(d.outings, evening)
	}
	out := dice.IntN(10) < 6
	if out {
		d.outings = append(d.outings, o)
	}
	for n := dice.IntN(3); n > 0; n-- {
		v := newVisit(p, fmt.Sprintf("%s %d %d", p.key, day, n), dice)
		// A day has three parts, so that the n-th stop is always the later one.
		v.at = dayAt(day, n*8*3600+dice.IntN(7*3600), zone)
		d.visits = append(d.visits, v)
	}
	if v := newVisit(p, fmt.Sprintf("%s %d on the way", p.key, day), dice); out && o.stops() && v.place.away == nil {
		v.at = o.start.Add(time.Duration(o.elapsed/2) * time.Second)
		d.visits = append(d.visits, v)
	}
}

// dayAt is that many seconds into the person's day.
func dayAt(day int64, seconds int, zone *time.Location) time.Time {
	_, offset := time.Unix(day*86400, 0).In(zone).Zone()
	return time.Unix(day*86400+int64(seconds-offset), 0).UTC()
}

// entry is what was added to a diary, or changed in it.
type entry struct {
	ID      int64
	Kind    string
	MadeAt  *time.Time
	Title   *string
	Private *bool
	Deleted bool
}

// diary is the person's as of now, with what was added and changed.
func (s store) diary(ctx context.Context, key string) (diary, error) {
	p, known := personBy(key)
	if !known {
		return diary{}, nil
	}
	rows, _ := s.pool.Query(ctx, `
		SELECT id, kind, made_at, title, private, deleted
		FROM cairn_sandbox.entries WHERE person = $1`, key)
	entries, err := pgx.CollectRows(rows, pgx.RowToStructByName[entry])
	if err != nil {
		return diary{}, fmt.Errorf("sandbox: read diary: %w", err)
	}
	d := diaryOf(p, time.Now())
	for _, e := range entries {
		d.add(p, e)
	}
	slices.SortStableFunc(d.outings, func(a, b outing) int {
		return cmp.Or(b.start.Compare(a.start), cmp.Compare(b.id, a.id))
	})
	slices.SortStableFunc(d.visits, func(a, b visit) int { return b.at.Compare(a.at) })
	return d, nil
}

func (d *diary) add(p person, e entry) {
	switch {
	case e.Kind == "visit":
		d.visits = append(d.visits, madeVisit(p, e))
		return
	case e.MadeAt != nil:
		d.outings = append(d.outings, madeOuting(p, e))
	}
	i := slices.IndexFunc(d.outings, func(o outing) bool { return o.id == e.ID })
	switch {
	case i < 0: // too old by now
	case e.Deleted:
		d.outings = slices.Delete(d.outings, i, i+1)
	default:
		d.outings[i] = d.outings[i].changed(e)
	}
}

// diceFor always fall the same way for the same entry.
func diceFor(id int64) *rand.Rand { return rand.New(rand.NewPCG(uint64(id), 0x6361_6972_6e)) }

// madeOuting is one that the watch handed over just when it was made.
func madeOuting(p person, e entry) outing {
	o := newOuting(p, e.ID, diceFor(e.ID))
	return o.at(e.MadeAt.Add(-o.uploaded().Sub(o.start)).Truncate(time.Second).UTC())
}

func madeVisit(p person, e entry) visit {
	v := newVisit(p, fmt.Sprintf("made %d", e.ID), diceFor(e.ID))
	v.at = e.MadeAt.UTC()
	return v
}
