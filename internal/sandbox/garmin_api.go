package sandbox

import (
	"cmp"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// withToken lets a call through that has a good access token. An expired one is 401, one that is not known, as after
// the person has removed our app, 403.
func (s garmin) withToken(next func(http.ResponseWriter, *http.Request, Grant) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		text := bearerOf(r)
		b, found, err := s.findToken(r.Context(), Garmin, "access", text)
		switch {
		case err != nil:
			return err
		case text == "" || found && !b.Fresh:
			return garminProblem(w, http.StatusUnauthorized, "Access token missing or expired")
		case !found:
			return garminProblem(w, http.StatusForbidden, "Unknown access token or consent removed")
		}
		return next(w, r, b.Grant)
	}
}

func (s garmin) userInfo(w http.ResponseWriter, _ *http.Request, g Grant) error {
	p, _ := personBy(g.Person)
	return writeJSON(w, http.StatusOK, object{"userId": p.garmin})
}

func (s garmin) permissions(w http.ResponseWriter, _ *http.Request, g Grant) error {
	return writeJSON(w, http.StatusOK, object{"permissions": g.Permissions})
}

func (s garmin) deregister(w http.ResponseWriter, r *http.Request, g Grant) error {
	if err := s.RevokeGrant(r.Context(), g.ID); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// refusesHeader reports whether Garmin refuses the request for its Authorization header, or for the lack of one:
// reports differ.
func (s garmin) refusesHeader(r *http.Request) (bool, error) {
	want, err := s.setting(r.Context(), Garmin, PullHeader)
	has := r.Header.Get("Authorization") != ""
	return want == Forbidden && has || want == Required && !has, err
}

// activities needs a pull token, which a ping's callback URL has. An access token is not enough.
func (s garmin) activities(w http.ResponseWriter, r *http.Request) error {
	query := numbers{query: r.URL.Query()}
	refused, err := s.refusesHeader(r)
	if err != nil {
		return err
	}
	if refused {
		return garminProblem(w, http.StatusBadRequest, "Unable to read oAuth header")
	}
	pull, found, err := s.findToken(r.Context(), Garmin, "pull", query.query.Get("token"))
	if err != nil {
		return err
	}
	if !found || !pull.Fresh {
		return garminProblem(w, http.StatusBadRequest, "InvalidPullTokenException failure")
	}
	from := query.get("uploadStartTimeInSeconds", -1, 0, math.MaxInt64)
	to := query.get("uploadEndTimeInSeconds", -1, 0, math.MaxInt64)
	switch {
	case query.bad != "" || from < 0 || to < 0:
		return garminProblem(w, http.StatusBadRequest, "Missing time range parameters")
	case from > time.Now().Unix():
		return garminProblem(w, http.StatusBadRequest, "Start time is in the future; times are in seconds")
	case to < from || to-from > 86400:
		return garminProblem(w, http.StatusBadRequest, "Time range must be between 0 and 86400 seconds")
	case !slices.Contains(pull.Permissions, "ACTIVITY_EXPORT"):
		return garminProblem(w, http.StatusPreconditionFailed, "User has not granted the required ACTIVITY_EXPORT")
	}
	d, err := s.diary(r.Context(), pull.Person)
	if err != nil {
		return err
	}
	summaries := []object{}
	for _, o := range d.activities {
		if at := o.uploaded().Unix(); from <= at && at <= to {
			summaries = append(summaries, o.garminJSON())
		}
	}
	return writeJSON(w, http.StatusOK, summaries)
}

func (garmin) failure(call string, status int) any {
	if groupOf(call) == API {
		if status == http.StatusPreconditionFailed {
			return object{"errorMessage": "User has not granted the required ACTIVITY_EXPORT"}
		}
		return object{"errorMessage": http.StatusText(status)}
	}
	code := map[int]string{http.StatusBadRequest: "invalid_grant", http.StatusUnauthorized: "invalid_client",
		http.StatusForbidden: "access_denied"}[status]
	return object{
		"error":             cmp.Or(code, "temporarily_unavailable"),
		"error_description": strconv.Itoa(status) + " on demand",
	}
}
