package sandbox

import (
	"cmp"
	"math"
	"net/http"
	"slices"
	"time"
)

// withToken lets a call through that has a good access token in its header, query or form.
func (s strava) withToken(next func(http.ResponseWriter, *http.Request, Grant) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		b, found, err := s.findToken(r.Context(), Strava, "access", stravaTokenOf(r))
		if err != nil {
			return err
		}
		if !found || !b.Fresh {
			return writeJSON(w, http.StatusUnauthorized,
				stravaError("Authorization Error", "Athlete", "access_token", "invalid"))
		}
		return next(w, r, b.Grant)
	}
}

func stravaTokenOf(r *http.Request) string { return cmp.Or(bearerOf(r), r.FormValue("access_token")) }

func (s strava) revoke(w http.ResponseWriter, r *http.Request) error {
	exists, err := s.isOn(r.Context(), Strava, RevokeEndpoint)
	if err != nil {
		return err
	}
	if !exists {
		return writeJSON(w, http.StatusNotFound, stravaError("Record Not Found", "resource", "path", "invalid"))
	}
	id, secret, _ := r.BasicAuth()
	app := s.apps[Strava]
	if id != app.ClientID || !same(secret, app.ClientSecret) {
		return writeJSON(w, http.StatusUnauthorized, stravaError("Authorization Error", "Application", "", "invalid"))
	}
	if err := s.revokeByToken(r.Context(), Strava, r.PostFormValue("token")); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, object{})
}

func (s strava) deauthorize(w http.ResponseWriter, r *http.Request, g Grant) error {
	if err := s.RevokeGrant(r.Context(), g.ID); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, object{"access_token": stravaTokenOf(r)})
}

func (s strava) userInfo(w http.ResponseWriter, _ *http.Request, g Grant) error {
	return writeJSON(w, http.StatusOK, athlete(g, s.base, slices.Contains(g.Permissions, "profile:read_all")))
}

func (s strava) activities(w http.ResponseWriter, r *http.Request, g Grant) error {
	private := seesPrivate(g)
	if !seesActivity(g, false) {
		return writeJSON(w, http.StatusUnauthorized,
			stravaError("Authorization Error", "AccessToken", "activity:read_permission", "missing"))
	}
	now := time.Now()
	q := numbers{query: r.URL.Query()}
	after := q.get("after", math.MinInt64, math.MinInt64, math.MaxInt64)
	before := q.get("before", math.MaxInt64, math.MinInt64, math.MaxInt64)
	pageNo, perPage := q.get("page", 1, 1, math.MaxInt32), q.get("per_page", 30, 1, 200)
	if q.bad != "" {
		return writeJSON(w, http.StatusBadRequest, stravaError("Bad Request", "Application", q.bad, "invalid"))
	}
	if after > now.Unix() { // milliseconds, most likely
		return writeJSON(w, http.StatusBadRequest, stravaError("Bad Request", "Application", "after", "future"))
	}
	d, err := s.diary(r.Context(), g.Person)
	if err != nil {
		return err
	}
	activities := []object{}
	for _, o := range d.activities { // newest first
		if at := o.start.Unix(); at > after && at < before && (private || !o.private) {
			activities = append(activities, o.stravaJSON())
		}
	}
	if q.query.Has("after") && !q.query.Has("before") {
		slices.Reverse(activities)
	}
	return writeJSON(w, http.StatusOK, cut(activities, (pageNo-1)*perPage, perPage))
}

func (strava) failure(call string, status int) any {
	switch status {
	case http.StatusBadRequest:
		switch call {
		case Exchange:
			return stravaError("Bad Request", "RequestToken", "code", "invalid")
		case Refresh:
			return stravaError("Bad Request", "RefreshToken", "refresh_token", "invalid")
		}
		return stravaError("Bad Request", "Application", "", "invalid")
	case http.StatusUnauthorized:
		return stravaError("Authorization Error", "Athlete", "access_token", "invalid")
	case http.StatusForbidden:
		if groupOf(call) == Token {
			return stravaTooManyAthletes()
		}
		return stravaError("Forbidden", "Application", "Status", "Inactive")
	case http.StatusNotFound:
		return stravaError("Record Not Found", "resource", "path", "invalid")
	case http.StatusTooManyRequests:
		return stravaError("Rate Limit Exceeded", "Application", "overall rate limit", "exceeded")
	}
	return object{"message": http.StatusText(status)}
}

func stravaTooManyAthletes() object {
	return stravaError("Forbidden", "Application", "Athletes", "limit of connected athletes exceeded")
}
