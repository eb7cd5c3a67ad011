package sandbox

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

func stravaAccess() tokenSpec {
	return tokenSpec{kind: "access", life: 6 * time.Hour, enough: time.Hour, text: stravaText}
}

func stravaRefresh() tokenSpec { return tokenSpec{kind: "refresh", text: stravaText} }

func stravaText(seed [32]byte) string { return hex.EncodeToString(seed[:20]) }

// stravaScopes are Strava's scopes in the order of its consent page, in words.
var stravaScopes = []choice{
	{Value: "read", Label: "View your public profile"},
	{Value: "read_all", Label: "View your private routes and segments"},
	{Value: "profile:read_all", Label: "View your complete profile"},
	{Value: "profile:write", Label: "Change your profile"},
	{Value: "activity:read", Label: "View your activities"},
	{Value: "activity:read_all", Label: "View your activities, private ones included"},
	{Value: "activity:write", Label: "Upload and change activities"},
}

func (s *Sandbox) mountStrava(handle func(string, handler)) {
	handle("GET /strava/oauth/authorize", s.stravaAuthorize)
	handle("POST /strava/oauth/authorize", s.stravaAuthorize)
	token := s.tokenCall(Strava, s.stravaToken)
	handle("POST /strava/oauth/token", token)
	handle("POST /strava/api/v3/oauth/token", token)
	handle("POST /strava/oauth/revoke", s.apiCall(Strava, s.stravaRevoke))
	handle("POST /strava/oauth/deauthorize", s.apiCall(Strava, s.stravaAs(s.stravaDeauthorize)))
	handle("GET /strava/api/v3/athlete", s.apiCall(Strava, s.stravaAs(s.stravaAthlete)))
	handle("GET /strava/api/v3/athlete/activities", s.apiCall(Strava, s.stravaAs(s.stravaActivities)))
	handle("/strava/api/v3/", s.apiCall(Strava, func(w http.ResponseWriter, _ *http.Request) error {
		return writeJSON(w, http.StatusNotFound, stravaError("Record Not Found", "resource", "path", "invalid"))
	}))
}

// stravaError is the one shape of all of Strava's errors.
func stravaError(message, resource, field, code string) object {
	return object{"message": message, "errors": []object{{"resource": resource, "field": field, "code": code}}}
}

func (s *Sandbox) stravaAuthorize(w http.ResponseWriter, r *http.Request) error {
	query, app := r.URL.Query(), s.apps[Strava]
	invalid := func(resource, field string) error {
		return writeJSON(w, http.StatusBadRequest, stravaError("Bad Request", resource, field, "invalid"))
	}
	redirectURI := query.Get("redirect_uri")
	choices, ok := stravaChoices(query.Get("scope"))
	switch {
	case query.Get("client_id") != app.ClientID:
		return invalid("Application", "client_id")
	case !stravaMaySendTo(app.RedirectURI, redirectURI):
		return invalid("Application", "redirect_uri")
	case query.Get("response_type") != "code":
		return invalid("Authorize", "response_type")
	case !ok:
		return invalid("Authorize", "scope")
	}
	// Strava puts a "?" even behind a query, an empty state where none was sent, and the commas of scope as they are.
	back := redirectURI + "?state=" + url.QueryEscape(query.Get("state"))
	code := randomHex(20)
	return s.ask(w, r, consent{
		provider: Strava, redirectURI: redirectURI, field: "scope", choices: choices, code: code,
		allowed: func(granted []string) string { return back + "&code=" + code + "&scope=" + strings.Join(granted, ",") },
		denied:  back + "&error=access_denied",
	})
}

// stravaChoices turns the scope parameter into boxes, all ticked; read is no question.
func stravaChoices(scope string) (choices []choice, ok bool) {
	for asked := range strings.SplitSeq(scope, ",") {
		i := slices.IndexFunc(stravaScopes, func(c choice) bool { return c.Value == asked })
		if i < 0 {
			return nil, false
		}
		c := stravaScopes[i]
		c.Checked, c.Fixed = true, c.Value == "read"
		choices = append(choices, c)
	}
	return choices, true
}

// stravaMaySendTo checks the host only, as Strava does with its callback domain; this machine is always allowed.
func stravaMaySendTo(registered, uri string) bool {
	domain, err := url.Parse(registered)
	if err != nil {
		return false
	}
	to, err := url.Parse(uri)
	if err != nil || to.User != nil || to.Scheme != "http" && to.Scheme != "https" {
		return false
	}
	host := to.Hostname()
	return host == "localhost" || host == "127.0.0.1" ||
		host != "" && (host == domain.Hostname() || strings.HasSuffix(host, "."+domain.Hostname()))
}

func (s *Sandbox) stravaToken(w http.ResponseWriter, r *http.Request) error {
	invalid := func(resource, field string) error {
		return writeJSON(w, http.StatusBadRequest, stravaError("Bad Request", resource, field, "invalid"))
	}
	app := s.apps[Strava]
	if r.Form.Get("client_id") != app.ClientID {
		return invalid("Application", "client_id")
	}
	if !same(r.Form.Get("client_secret"), app.ClientSecret) {
		return invalid("Application", "client_secret")
	}
	rotate, err := s.isOn(r.Context(), Strava, RotateRefresh)
	if err != nil {
		return err
	}
	switch r.Form.Get("grant_type") {
	case "authorization_code":
		code, found, err := s.spendCode(r.Context(), Strava, r.Form.Get("code"))
		if err != nil {
			return err
		}
		if !found || !code.Fresh {
			return invalid("RequestToken", "code")
		}
		return s.stravaPair(w, r, code.Grant, rotate, object{"athlete": athlete(code.Grant, s.base, false)})
	case "refresh_token":
		take := s.spendRefresh
		if !rotate {
			take = s.findRefresh
		}
		old, found, err := take(r.Context(), Strava, r.Form.Get("refresh_token"))
		if err != nil {
			return err
		}
		if !found {
			return invalid("RefreshToken", "refresh_token")
		}
		return s.stravaPair(w, r, old.Grant, rotate, object{})
	}
	return invalid("Authorize", "grant_type")
}

// stravaPair answers with the grant's tokens. One refresh token at most is alive, so a new one ends the others.
func (s *Sandbox) stravaPair(w http.ResponseWriter, r *http.Request, g Grant, rotate bool, answer object) error {
	access, err := s.reuse(r.Context(), g, stravaAccess())
	if err != nil {
		return err
	}
	renew := s.issue
	if !rotate {
		renew = s.reuse
	}
	refresh, err := renew(r.Context(), g, stravaRefresh())
	if err != nil {
		return err
	}
	if err := s.retireRefresh(r.Context(), g, refresh); err != nil {
		return err
	}
	answer["token_type"] = "Bearer"
	answer["access_token"] = access.Text
	answer["refresh_token"] = refresh.Text
	answer["expires_at"] = access.ExpiresAt
	answer["expires_in"] = access.Left
	answer["scope"] = strings.Join(g.Permissions, " ")
	return writeJSON(w, http.StatusOK, answer)
}

// stravaAs lets a call through that has a good access token in its header, query or form.
func (s *Sandbox) stravaAs(next func(http.ResponseWriter, *http.Request, Grant) error) handler {
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

func (s *Sandbox) stravaRevoke(w http.ResponseWriter, r *http.Request) error {
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

func (s *Sandbox) stravaDeauthorize(w http.ResponseWriter, r *http.Request, g Grant) error {
	if err := s.RevokeGrant(r.Context(), g.ID); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, object{"access_token": stravaTokenOf(r)})
}

func (s *Sandbox) stravaAthlete(w http.ResponseWriter, _ *http.Request, g Grant) error {
	return writeJSON(w, http.StatusOK, athlete(g, s.base, slices.Contains(g.Permissions, "profile:read_all")))
}

func (s *Sandbox) stravaActivities(w http.ResponseWriter, r *http.Request, g Grant) error {
	private := slices.Contains(g.Permissions, "activity:read_all")
	if !private && !slices.Contains(g.Permissions, "activity:read") {
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
	activities := []object{}
	for _, o := range diaryOf(g.Person, now).outings { // newest first
		if at := o.start.Unix(); at > after && at < before && (private || !o.private) {
			activities = append(activities, o.stravaActivity())
		}
	}
	if q.query.Has("after") && !q.query.Has("before") {
		slices.Reverse(activities)
	}
	return writeJSON(w, http.StatusOK, cut(activities, (pageNo-1)*perPage, perPage))
}

// stravaHeaders are on every API answer: "15 minutes,day", for all calls and for those that only read. The limits
// are told, never enforced; the 429 switch is there for that.
func stravaHeaders(h http.Header, used usage) {
	spent := fmt.Sprintf("%d,%d", used.Quarter, used.Day)
	h.Set("X-RateLimit-Limit", "200,2000")
	h.Set("X-RateLimit-Usage", spent)
	h.Set("X-ReadRateLimit-Limit", "100,1000")
	h.Set("X-ReadRateLimit-Usage", spent)
}

func stravaFailure(call string, status int) any {
	switch status {
	case http.StatusUnauthorized:
		return stravaError("Authorization Error", "Athlete", "access_token", "invalid")
	case http.StatusForbidden:
		if call == Token {
			return stravaError("Forbidden", "Application", "Athletes", "limit of connected athletes exceeded")
		}
		return stravaError("Forbidden", "Application", "Status", "Inactive")
	case http.StatusTooManyRequests:
		return stravaError("Rate Limit Exceeded", "Application", "overall rate limit", "exceeded")
	case http.StatusInternalServerError:
		return object{"message": "Internal Server Error"}
	}
	if call == Token {
		return stravaError("Bad Request", "RefreshToken", "refresh_token", "invalid")
	}
	return stravaError("Bad Request", "Application", "", "invalid")
}
