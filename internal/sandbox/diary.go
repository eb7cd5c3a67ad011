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

// diary is a person's recent activities and check-ins, newest first. It is generated anew each time and always the same
// for the same day, so that ids stay and new days bring new entries. Only what the control page adds and changes is
// stored. The generated part ends the day before yesterday: an added entry is always the newest, and no entry appears
// during a day without a webhook.
type diary struct {
	activities []activity // Strava's activities and Garmin's, as if one watch fed both
	checkins   []checkin  // Foursquare's check-ins
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
	slices.SortStableFunc(d.checkins, func(a, b checkin) int { return b.at.Compare(a.at) })
	return d
}

// live adds a day: often an activity, at times a second one, some check-ins, and now and then a stop on the way.
func (d *diary) live(p person, day int64, dice *rand.Rand) {
	zone, id := p.location(), 16_000_000_000+day*1000+p.strava%1000
	o := newActivity(p, id, dice).at(dayAt(day, 6*3600+dice.IntN(9*3600), zone))
	evening := newActivity(p, id+300, dice).at(dayAt(day, 17*3600+dice.IntN(2*3600), zone))
	if dice.IntN(10) < 1 {
		d.activities = append(d.activities, evening)
	}
	out := dice.IntN(10) < 6
	if out {
		d.activities = append(d.activities, o)
	}
	for n := dice.IntN(3); n > 0; n-- {
		v := newCheckin(p, fmt.Sprintf("%s %d %d", p.key, day, n), dice)
		// A day has three parts, so that the n-th stop is always the later one.
		v.at = dayAt(day, n*8*3600+dice.IntN(7*3600), zone)
		d.checkins = append(d.checkins, v)
	}
	if v := newCheckin(p, fmt.Sprintf("%s %d on the way", p.key, day), dice); out && o.stops() && v.place.away == nil {
		v.at = o.start.Add(time.Duration(o.elapsed/2) * time.Second)
		d.checkins = append(d.checkins, v)
	}
}

// dayAt returns the time so many seconds after the person's midnight.
func dayAt(day int64, seconds int, zone *time.Location) time.Time {
	_, offset := time.Unix(day*86400, 0).In(zone).Zone()
	return time.Unix(day*86400+int64(seconds-offset), 0).UTC()
}

// entry is an addition to a diary, or a change in it.
type entry struct {
	ID      int64
	Kind    string
	MadeAt  *time.Time
	Title   *string
	Private *bool
	Deleted bool
}

// diary returns the person's diary as of now, with additions and changes.
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
	slices.SortStableFunc(d.activities, func(a, b activity) int {
		return cmp.Or(b.start.Compare(a.start), cmp.Compare(b.id, a.id))
	})
	slices.SortStableFunc(d.checkins, func(a, b checkin) int { return b.at.Compare(a.at) })
	return d, nil
}

func (d *diary) add(p person, e entry) {
	switch {
	case e.Kind == kindCheckin:
		d.checkins = append(d.checkins, madeCheckin(p, e))
		return
	case e.MadeAt != nil:
		d.activities = append(d.activities, madeActivity(p, e))
	}
	i := slices.IndexFunc(d.activities, func(o activity) bool { return o.id == e.ID })
	switch {
	case i < 0: // too old by now
	case e.Deleted:
		d.activities = slices.Delete(d.activities, i, i+1)
	default:
		d.activities[i] = d.activities[i].changed(e)
	}
}

// diceFor returns random numbers that are always the same for an entry.
func diceFor(id int64) *rand.Rand { return rand.New(rand.NewPCG(uint64(id), 0x6361_6972_6e)) }

// madeActivity returns an added activity, which the watch uploaded when it was added.
func madeActivity(p person, e entry) activity {
	o := newActivity(p, e.ID, diceFor(e.ID))
	return o.at(e.MadeAt.Add(-o.uploaded().Sub(o.start)).Truncate(time.Second).UTC())
}

func madeCheckin(p person, e entry) checkin {
	v := newCheckin(p, fmt.Sprintf("made %d", e.ID), diceFor(e.ID))
	v.at = e.MadeAt.UTC()
	return v
}
