package sandbox

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
)

// action is something that a person does at a provider, from the control page.
type action struct {
	Key, Label string
	do         func(s *Sandbox, ctx context.Context, g Grant) error
}

func (strava) actions() []action {
	return []action{
		{"activity", "New activity", recordActivity},
		{"rename", "Rename the newest", renameNewest},
		{"hide", "Hide or show the newest", hideNewest},
		{"delete", "Delete the newest", deleteNewest},
	}
}

func (garmin) actions() []action {
	return []action{
		{"activity", "New activity", recordActivity},
		{"permit", "Permit or forbid activities", togglePermission},
	}
}

func (foursquare) actions() []action { return []action{{"checkin", "New check-in", checkIn}} }

func recordActivity(s *Sandbox, ctx context.Context, g Grant) error {
	_, err := s.NewActivity(ctx, g.Person)
	return err
}

func checkIn(s *Sandbox, ctx context.Context, g Grant) error {
	_, err := s.NewCheckin(ctx, g.Person)
	return err
}

// newest returns the person's newest activity. Errors: ErrNoEntry.
func (s *Sandbox) newest(ctx context.Context, g Grant) (activity, error) {
	d, err := s.diary(ctx, g.Person)
	if err == nil && len(d.activities) == 0 {
		err = ErrNoEntry
	}
	if err != nil {
		return activity{}, err
	}
	return d.activities[0], nil
}

func renameNewest(s *Sandbox, ctx context.Context, g Grant) error {
	o, err := s.newest(ctx, g)
	if err != nil {
		return err
	}
	title := o.name + " ✎"
	return s.ChangeActivity(ctx, g.Person, o.id, ActivityChange{Title: &title})
}

func hideNewest(s *Sandbox, ctx context.Context, g Grant) error {
	o, err := s.newest(ctx, g)
	if err != nil {
		return err
	}
	private := !o.private
	return s.ChangeActivity(ctx, g.Person, o.id, ActivityChange{Private: &private})
}

func deleteNewest(s *Sandbox, ctx context.Context, g Grant) error {
	o, err := s.newest(ctx, g)
	if err != nil {
		return err
	}
	return s.DeleteActivity(ctx, g.Person, o.id)
}

func togglePermission(s *Sandbox, ctx context.Context, g Grant) error {
	const export = "ACTIVITY_EXPORT"
	permissions := slices.DeleteFunc(slices.Clone(g.Permissions), func(p string) bool { return p == export })
	if len(permissions) == len(g.Permissions) {
		permissions = append(permissions, export)
	}
	return s.SetPermissions(ctx, g.ID, permissions...)
}

func (s *Sandbox) postAct(w http.ResponseWriter, r *http.Request) error {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return s.notFound(w, r)
	}
	g, found, err := oneRow[Grant](r.Context(), s.store, "find grant", `
		SELECT id, provider, person, permissions, granted_at
		FROM cairn_sandbox.grants WHERE id = $1`, id)
	if err != nil {
		return err
	}
	if !found {
		return s.notFound(w, r)
	}
	actions := providerOf(s, g.Provider).actions()
	i := slices.IndexFunc(actions, func(a action) bool { return a.Key == r.PostFormValue("act") })
	if i < 0 {
		return s.notFound(w, r)
	}
	if err := actions[i].do(s, r.Context(), g); errors.Is(err, ErrNoEntry) || errors.Is(err, ErrNoGrant) {
		return s.refuse(w, "", "There is no entry for that.")
	} else if err != nil {
		return err
	}
	return s.backTo(w, g.Provider)
}

func (s *Sandbox) postForgetUsage(w http.ResponseWriter, r *http.Request) error {
	key := r.PathValue("provider")
	if err := s.ForgetUsage(r.Context(), key); err != nil {
		return err
	}
	return s.backTo(w, key)
}
