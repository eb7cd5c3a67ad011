package sandbox

import (
	"cmp"
	"context"
	"encoding/base32"
	"math"
	"net/http"
	"slices"
	"strconv"
)

// foursquareAccess never expires and is the same at every exchange.
func foursquareAccess() tokenSpec {
	return tokenSpec{kind: "access", text: func(seed [32]byte) string {
		return base32.StdEncoding.EncodeToString(seed[:30]) // 48 upper-case letters and digits
	}}
}

func (foursquare) describe() description {
	return description{
		key: Foursquare, name: "Foursquare", calls: []string{Exchange, UserInfo, Data},
		metered: true,
	}
}

func (foursquare) endpoints(base string) Endpoints {
	return Endpoints{
		Authorize: base + "/oauth2/authenticate",
		Token:     base + "/oauth2/access_token",
		API:       base + "/v2",
	}
}

func (foursquare) subject(p person) string { return p.foursquare }

func (foursquare) controls() []control {
	return []control{
		textControl(Quota, "Calls per hour and token", "500", oneNumber),
		{Name: Pushes, Label: "Send check-ins", Values: onOff},
	}
}

// revoked does nothing: Foursquare does not report revocations.
func (foursquare) revoked(context.Context, Grant) error { return nil }

// destination is "": the switches show it.
func (foursquare) destination(context.Context) (string, error) { return "", nil }

func (s foursquare) mount(handle func(string, handler)) {
	for _, page := range []string{"authenticate", "authorize"} {
		handle("GET /foursquare/oauth2/"+page, s.authorize)
		handle("POST /foursquare/oauth2/"+page, s.authorize)
	}
	token := s.tokenCall(Foursquare, s.token)
	handle("GET /foursquare/oauth2/access_token", token)
	handle("POST /foursquare/oauth2/access_token", token)
	handle("GET /foursquare/v2/users/self", s.apiCall(Foursquare, UserInfo, s.withToken(s.userInfo)))
	handle("GET /foursquare/v2/users/self/checkins", s.apiCall(Foursquare, Data, s.withToken(s.checkins)))
	handle("/foursquare/v2/", s.apiCall(Foursquare, Other, func(w http.ResponseWriter, _ *http.Request) error {
		return foursquareProblem(w, http.StatusNotFound, "endpoint_error", "No matching endpoint")
	}))
}

func (s foursquare) authorize(w http.ResponseWriter, r *http.Request) error {
	query, app := r.URL.Query(), s.apps[Foursquare]
	redirectURI, state := query.Get("redirect_uri"), query.Get("state")
	switch {
	case query.Get("client_id") != app.ClientID:
		return s.refuse(w, Foursquare, "The client_id is not one we know.")
	case redirectURI != app.RedirectURI:
		return s.refuse(w, Foursquare, "The callback uri is not valid for this consumer.")
	case query.Get("response_type") != "code":
		return s.refuse(w, Foursquare, "The response_type must be code.")
	}
	code := randomHex(24)
	return s.ask(w, r, consent{
		provider: Foursquare, redirectURI: redirectURI, code: code,
		allowed: func([]string) string { return withQuery(redirectURI, "code", code, "state", state) },
		denied:  withQuery(redirectURI, "error", "access_denied", "state", state),
	})
}

func (s foursquare) token(w http.ResponseWriter, r *http.Request) error {
	refuse := func(code string) error { return writeJSON(w, http.StatusBadRequest, object{"error": code}) }
	form, app := r.Form, s.apps[Foursquare] // query or body
	if form.Get("client_id") != app.ClientID || !same(form.Get("client_secret"), app.ClientSecret) {
		return refuse("invalid_client")
	}
	if form.Get("grant_type") != "authorization_code" {
		return refuse("unsupported_grant_type")
	}
	code, found, err := s.consumeCode(r.Context(), Foursquare, form.Get("code"))
	switch {
	case err != nil:
		return err
	case !found || !code.Fresh:
		return refuse("invalid_grant")
	case form.Get("redirect_uri") != code.RedirectURI:
		return refuse("redirect_uri_mismatch")
	}
	access, err := s.reuse(r.Context(), code.Grant, foursquareAccess())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, object{"access_token": access.Text})
}

// withToken lets a call through that says which version it wants and has a good access token.
func (s foursquare) withToken(next func(http.ResponseWriter, *http.Request, Grant) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		query := r.URL.Query()
		if v, err := strconv.Atoi(query.Get("v")); err != nil || v <= 20120609 {
			return foursquareProblem(w, http.StatusGone, "param_error",
				"The Foursquare API no longer supports requests that do not pass in a version parameter.")
		}
		b, found, err := s.findToken(r.Context(), Foursquare, "access", foursquareTokenOf(r))
		if err != nil {
			return err
		}
		if !found {
			return foursquareProblem(w, http.StatusUnauthorized, "invalid_auth", "OAuth token invalid or revoked.")
		}
		return next(w, r, b.Grant)
	}
}

func foursquareTokenOf(r *http.Request) string {
	return cmp.Or(r.URL.Query().Get("oauth_token"), bearerOf(r))
}

// meter counts the calls of an hour for each access token.
func (s foursquare) meter(
	h http.Header, r *http.Request, _ string,
) (refusal func(http.ResponseWriter) error, err error) {
	quota, err := s.setting(r.Context(), Foursquare, Quota)
	if err != nil {
		return nil, err
	}
	used, err := s.countCall(r.Context(), Foursquare, hashOf(foursquareTokenOf(r)))
	if err != nil {
		return nil, err
	}
	limit := number(quota)
	h.Set("X-RateLimit-Limit", strconv.Itoa(limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(max(0, limit-used.Hour)))
	if used.Hour <= limit {
		return nil, nil
	}
	return func(w http.ResponseWriter) error {
		return foursquareProblem(w, http.StatusForbidden, "rate_limit_exceeded", "Quota exceeded")
	}, nil
}

func foursquareAnswer(w http.ResponseWriter, response object) error {
	return writeJSON(w, http.StatusOK, object{
		"meta":          object{"code": http.StatusOK, "requestId": randomHex(12)},
		"notifications": []object{{"type": "notificationTray", "item": object{"unreadCount": 0}}},
		"response":      response,
	})
}

func foursquareProblem(w http.ResponseWriter, status int, kind, detail string) error {
	return writeJSON(w, status, foursquareError(status, kind, detail))
}

func foursquareError(status int, kind, detail string) object {
	return object{
		"meta":     object{"code": status, "errorType": kind, "errorDetail": detail, "requestId": randomHex(12)},
		"response": object{},
	}
}

func (s foursquare) userInfo(w http.ResponseWriter, _ *http.Request, g Grant) error {
	return foursquareAnswer(w, object{"user": swarmUser(g, s.base)})
}

func (s foursquare) checkins(w http.ResponseWriter, r *http.Request, g Grant) error {
	q := numbers{query: r.URL.Query()}
	limit, offset := q.get("limit", 100, 1, 250), q.get("offset", 0, 0, math.MaxInt32)
	after := q.get("afterTimestamp", math.MinInt64, 0, math.MaxInt64)
	before := q.get("beforeTimestamp", math.MaxInt64, 0, math.MaxInt64)
	sort := cmp.Or(q.query.Get("sort"), "newestfirst")
	if sort != "newestfirst" && sort != "oldestfirst" && q.bad == "" {
		q.bad = "sort"
	}
	if q.bad != "" {
		return foursquareProblem(w, http.StatusBadRequest, "param_error", "Value of "+q.bad+" is not valid.")
	}
	d, err := s.diary(r.Context(), g.Person)
	if err != nil {
		return err
	}
	items := []object{}
	for _, v := range d.checkins { // newest first
		if at := v.at.Unix(); at > after && at < before {
			items = append(items, v.foursquareJSON())
		}
	}
	if sort == "oldestfirst" {
		slices.Reverse(items)
	}
	return foursquareAnswer(w, object{"checkins": object{"count": len(items), "items": cut(items, offset, limit)}})
}

func (foursquare) failure(call string, status int) any {
	if groupOf(call) == Token {
		code := map[int]string{http.StatusBadRequest: "invalid_grant", http.StatusUnauthorized: "invalid_client",
			http.StatusForbidden: "unauthorized_client"}[status]
		return object{"error": cmp.Or(code, "server_error")}
	}
	kind := map[int]string{
		http.StatusBadRequest:      "param_error",
		http.StatusUnauthorized:    "invalid_auth",
		http.StatusForbidden:       "rate_limit_exceeded",
		http.StatusNotFound:        "endpoint_error",
		http.StatusGone:            "param_error",
		http.StatusTooManyRequests: "quota_exceeded",
	}[status]
	return foursquareError(status, cmp.Or(kind, "server_error"), "Failing on demand.")
}
