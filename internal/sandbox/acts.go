package sandbox

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
)

// act is something a person can be made to do from the control page.
type act struct {
	Key, Label string
	do         func(s *Sandbox, ctx context.Context, g Grant) error
}

// actsAt lists what the person can do at the grant's provider; taking the permission back is not among it.
func actsAt(g Grant) []act {
	activity := act{"activity", "New activity", func(s *Sandbox, ctx context.Context, g Grant) error {
		_, err := s.NewActivity(ctx, g.Person)
		return err
	}}
	switch g.Provider {
	case Strava:
		return []act{activity,
			{"rename", "Rename the newest", renameNewest},
			{"hide", "Hide or show the newest", hideNewest},
			{"delete", "Delete the newest", deleteNewest}}
	case Garmin:
		return []act{activity, {"permit", "Permit or forbid activities", togglePermission}}
	}
	return []act{{"checkin", "New check-in", func(s *Sandbox, ctx context.Context, g Grant) error {
		_, err := s.NewCheckin(ctx, g.Person)
		return err
	}}}
}

// newest is ErrNoEntry where the person has done nothing.
func (s *Sandbox) newest(ctx context.Context, g Grant) (outing, error) {
	d, err := s.diary(ctx, g.Person)
	if err == nil && len(d.outings) == 0 {
		err = ErrNoEntry
	}
	if err != nil {
		return outing{}, err
	}
	return d.outings[0], nil
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
	acts := actsAt(g)
	i := slices.IndexFunc(acts, func(a act) bool { return a.Key == r.PostFormValue("act") })
	if !found || i < 0 {
		return s.notFound(w, r)
	}
	if err := acts[i].do(s, r.Context(), g); errors.Is(err, ErrNoEntry) || errors.Is(err, ErrNoGrant) {
		return s.refuse(w, "", "There is nothing to do that with.")
	} else if err != nil {
		return err
	}
	return s.backTo(w, g.Provider)
}

func (s *Sandbox) postForgetUsage(w http.ResponseWriter, r *http.Request) error {
	provider := r.PathValue("provider")
	if err := s.ForgetUsage(r.Context(), provider); err != nil {
		return err
	}
	return s.backTo(w, provider)
}

// subscribed says in words where Strava's events go.
func (s *Sandbox) subscribed(ctx context.Context) (string, error) {
	subscriptions, err := s.subscriptions(ctx)
	if err != nil || len(subscriptions) == 0 {
		return "Nobody has subscribed, so nobody is told.", err
	}
	to := originOf(subscriptions[0].CallbackURL) // the path holds a key
	return "Subscription " + strconv.FormatInt(subscriptions[0].ID, 10) + " is told at " + to, nil
}
