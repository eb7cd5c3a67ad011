package sandbox

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// How Garmin sends activities.
const (
	Push = "push" // the summaries themselves
	Ping = "ping" // a URL to fetch them from
)

const garminTries = 8 // the real one goes on for seven days, with growing delay

// notify sends items of one kind, unless its switch is off.
func (s garmin) notify(ctx context.Context, kind, to string, items ...object) error {
	app, simulated := s.apps[Garmin]
	if !simulated {
		return nil
	}
	sent, err := s.isOn(ctx, Garmin, kind)
	if err != nil || !sent {
		return err
	}
	n, err := jsonWebhook(webhook{
		provider: Garmin,
		what:     kind,
		url:      to,
		timeout:  s.limits.Garmin,
		tries:    garminTries,
		growth:   2,
		header:   http.Header{"Garmin-Client-Id": {app.ClientID}, "User-Agent": {"Garmin Health API"}},
	}, "application/json;charset=utf-8", object{kind: items})
	if err != nil {
		return err
	}
	return s.send(ctx, n)
}

func (s garmin) revoked(ctx context.Context, g Grant) error {
	p, _ := personBy(g.Person)
	return s.notify(ctx, Deregistrations, s.hooked.GarminDeregistrations, object{"userId": p.garmin})
}

// SetPermissions changes the permissions of a grant, as the person does at Garmin, which sends an event.
func (s *Sandbox) SetPermissions(ctx context.Context, grantID int64, permissions ...string) error {
	if permissions == nil {
		permissions = []string{} // never nil: the column is NOT NULL
	}
	g, found, err := oneRow[Grant](ctx, s.store, "set permissions", `
		UPDATE cairn_sandbox.grants SET permissions = $3 WHERE id = $1 AND provider = $2
		RETURNING id, provider, person, permissions, granted_at`, grantID, Garmin, permissions)
	if err != nil {
		return err
	}
	if !found {
		return ErrNoGrant
	}
	p, _ := personBy(g.Person)
	return garmin{s}.notify(ctx, PermissionChanges, s.hooked.GarminPermissions, object{"userId": p.garmin,
		"summaryId": "sandbox-" + randomHex(8), "permissions": permissions, "changeTimeInSeconds": time.Now().Unix()})
}

// activityMade sends an activity by push or ping, if the person permits it.
func (s garmin) activityMade(ctx context.Context, o activity) error {
	g, found, err := s.grantOf(ctx, Garmin, o.person.key)
	if err != nil || !found || !slices.Contains(g.Permissions, "ACTIVITY_EXPORT") {
		return err
	}
	how, err := s.setting(ctx, Garmin, ActivitiesBy)
	if err != nil {
		return err
	}
	item := o.garminJSON()
	if how == Ping {
		at := o.uploaded()
		callback, err := s.pullURL(ctx, g, at.Add(-time.Hour), at.Add(time.Second))
		if err != nil {
			return err
		}
		item = object{"callbackURL": callback}
	}
	item["userId"] = o.person.garmin
	return s.notify(ctx, Activities, s.hooked.GarminActivities, item)
}

// PullURL returns a callbackURL as a Garmin ping has it, for the grant: the day up to the newest activity.
func (s *Sandbox) PullURL(ctx context.Context, grantID int64) (string, error) {
	g, found, err := oneRow[Grant](ctx, s.store, "find grant", `
		SELECT id, provider, person, permissions, granted_at
		FROM cairn_sandbox.grants WHERE id = $1 AND provider = $2`, grantID, Garmin)
	if err != nil {
		return "", err
	}
	if !found {
		return "", ErrNoGrant
	}
	d, err := s.diary(ctx, g.Person)
	if err != nil {
		return "", err
	}
	to := time.Now()
	if len(d.activities) > 0 {
		to = d.activities[0].uploaded()
	}
	return garmin{s}.pullURL(ctx, g, to.Add(-24*time.Hour), to)
}

// pullURL returns an address that has the activities uploaded in that time. It is good for a day.
func (s garmin) pullURL(ctx context.Context, g Grant, from, to time.Time) (string, error) {
	pull, err := s.issue(ctx, g, garminPull())
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s/wellness-api/rest/activities?uploadStartTimeInSeconds=%d&uploadEndTimeInSeconds=%d&token=%s",
		EndpointsOf(s.inside, Garmin).API, from.Unix(), to.Unix(), pull.Text), nil
}

// backfill accepts a request for older activities with 202, and sends them as if they were new.
func (s garmin) backfill(w http.ResponseWriter, r *http.Request, g Grant) error {
	query := numbers{query: url.Values(r.URL.Query())}
	from := query.get("summaryStartTimeInSeconds", -1, 0, 1<<40)
	to := query.get("summaryEndTimeInSeconds", -1, 0, 1<<40)
	switch {
	case query.bad != "" || from < 0 || to < 0:
		return garminProblem(w, http.StatusBadRequest, "Missing time range parameters")
	case to <= from || to-from > 30*86400:
		return garminProblem(w, http.StatusBadRequest, "Time range must be between 0 and 2592000 seconds")
	case !slices.Contains(g.Permissions, "HISTORICAL_DATA_EXPORT"):
		return garminProblem(w, http.StatusPreconditionFailed,
			"User has not granted the required HISTORICAL_DATA_EXPORT")
	}
	tag, err := s.pool.Exec(r.Context(), `
		INSERT INTO cairn_sandbox.backfills (grant_id, asked) VALUES ($1, $2)
		ON CONFLICT DO NOTHING`, g.ID, strconv.FormatInt(from, 10)+"-"+strconv.FormatInt(to, 10))
	if err != nil {
		return fmt.Errorf("sandbox: record backfill: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return garminProblem(w, http.StatusConflict, "Duplicate backfill processing")
	}
	d, err := s.diary(r.Context(), g.Person)
	if err != nil {
		return err
	}
	for _, o := range d.activities {
		if at := o.start.Unix(); from <= at && at < to {
			if err := s.activityMade(r.Context(), o); err != nil {
				return err
			}
		}
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}
