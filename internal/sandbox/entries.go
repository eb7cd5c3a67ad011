package sandbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Kinds of entries, as cairn_sandbox.entries has them.
const (
	kindActivity = "outing"
	kindCheckin  = "visit"
)

// ErrNoEntry means that the person's diary does not have the entry.
var ErrNoEntry = errors.New("sandbox: no such entry")

// NewActivity adds an activity to the person's diary and returns its id. Each provider that may know it sends an event.
func (s *Sandbox) NewActivity(ctx context.Context, person string) (int64, error) {
	p, e, err := s.newEntry(ctx, person, kindActivity)
	if err != nil {
		return 0, err
	}
	o := madeActivity(p, e)
	if err := (strava{s}).activityEvent(ctx, "create", o, object{}); err != nil {
		return 0, err
	}
	return o.id, garmin{s}.activityMade(ctx, o)
}

// NewCheckin adds a check-in to the person's diary and returns its id.
func (s *Sandbox) NewCheckin(ctx context.Context, person string) (string, error) {
	p, e, err := s.newEntry(ctx, person, kindCheckin)
	if err != nil {
		return "", err
	}
	v := madeCheckin(p, e)
	return v.id, foursquare{s}.pushCheckin(ctx, v)
}

func (s *Sandbox) newEntry(ctx context.Context, key, kind string) (person, entry, error) {
	p, known := personBy(key)
	if !known {
		return p, entry{}, ErrNoEntry
	}
	e, _, err := oneRow[entry](ctx, s.store, "make entry", `
		INSERT INTO cairn_sandbox.entries (id, person, kind, made_at)
		VALUES (nextval('cairn_sandbox.made_ids'), $1, $2, now())
		RETURNING id, kind, made_at, title, private, deleted`, key, kind)
	return p, e, err
}

// ActivityChange is what a person edits; nil leaves it.
type ActivityChange struct {
	Title   *string
	Private *bool
}

// ChangeActivity edits an activity. Strava sends an event, and Garmin the summary again. For an app that may not see
// private activities, hiding one is a deletion, and showing it again a creation.
func (s *Sandbox) ChangeActivity(ctx context.Context, person string, id int64, change ActivityChange) error {
	before, err := s.activity(ctx, person, id)
	if err != nil {
		return err
	}
	if err := s.setEntry(ctx, person, entry{ID: id, Title: change.Title, Private: change.Private}); err != nil {
		return err
	}
	after := before.changed(entry{Title: change.Title, Private: change.Private})
	if err := (strava{s}).activityChanged(ctx, before, after); err != nil {
		return err
	}
	return garmin{s}.activityMade(ctx, after)
}

func (s strava) activityChanged(ctx context.Context, before, after activity) error {
	g, found, err := s.grantOf(ctx, Strava, before.person.key)
	if err != nil || !found {
		return err
	}
	updates := object{}
	if before.name != after.name {
		updates["title"] = after.name
	}
	switch {
	case before.private == after.private:
	case seesPrivate(g):
		updates["private"] = fmt.Sprint(after.private)
	case after.private:
		return s.activityEvent(ctx, "delete", before, object{})
	default:
		return s.activityEvent(ctx, "create", after, object{})
	}
	if len(updates) == 0 {
		return nil
	}
	return s.activityEvent(ctx, "update", after, updates)
}

// DeleteActivity removes an activity from the diary. Strava sends an event, Garmin does not.
func (s *Sandbox) DeleteActivity(ctx context.Context, person string, id int64) error {
	o, err := s.activity(ctx, person, id)
	if err != nil {
		return err
	}
	if err := s.setEntry(ctx, person, entry{ID: id, Deleted: true}); err != nil {
		return err
	}
	return strava{s}.activityEvent(ctx, "delete", o, object{})
}

func (s *Sandbox) activity(ctx context.Context, person string, id int64) (activity, error) {
	d, err := s.diary(ctx, person)
	if err != nil {
		return activity{}, err
	}
	i := slices.IndexFunc(d.activities, func(o activity) bool { return o.id == id })
	if i < 0 {
		return activity{}, ErrNoEntry
	}
	return d.activities[i], nil
}

func (s store) setEntry(ctx context.Context, person string, e entry) error {
	_, err := s.pool.Exec(ctx, `
		INSERT INTO cairn_sandbox.entries (id, person, kind, title, private, deleted)
		VALUES ($1, $2, $6, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE SET title = coalesce(EXCLUDED.title, entries.title),
			private = coalesce(EXCLUDED.private, entries.private), deleted = EXCLUDED.deleted`,
		e.ID, person, e.Title, e.Private, e.Deleted, kindActivity)
	if err != nil {
		return fmt.Errorf("sandbox: change entry: %w", err)
	}
	return nil
}
