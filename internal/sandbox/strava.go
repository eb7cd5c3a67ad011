package sandbox

import (
	"context"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
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

func (strava) describe() description {
	return description{
		key: Strava, name: "Strava", calls: []string{Exchange, Refresh, UserInfo, Data, Revoke, Subscriptions},
		expires: true, metered: true, scoped: true,
	}
}

func (strava) endpoints(base string) Endpoints {
	return Endpoints{base + "/oauth/authorize", base + "/oauth/token", base + "/api/v3", base + "/oauth/revoke"}
}

func (strava) subject(p person) string { return strconv.FormatInt(p.strava, 10) }

func (strava) controls() []control {
	return []control{
		{Name: RotateRefresh, Label: "Rotate the refresh token", Values: onOff},
		{Name: RevokeEndpoint, Label: "/oauth/revoke exists", Values: onOff},
		{Name: SignEvents, Label: "Sign events", Values: offOn},
		textControl(Quota, "Calls per quarter hour, day", "200,2000", twoNumbers),
		textControl(ReadQuota, "Reads per quarter hour, day", "100,1000", twoNumbers),
		{Name: QuotaHeaders, Label: "Headers about the quota", Values: []string{Honest, Missing, Malformed, Absurd}},
		{Name: NamesAthlete, Label: "The answer to a code names the athlete", Values: onOff},
		textControl(AthleteLimit, "Athletes at most (0: any)", "0", oneNumber),
	}
}

func (s strava) mount(handle func(string, handler)) {
	handle("GET /strava/oauth/authorize", s.authorize)
	handle("POST /strava/oauth/authorize", s.authorize)
	token := s.tokenCall(Strava, s.token)
	handle("POST /strava/oauth/token", token)
	handle("POST /strava/api/v3/oauth/token", token)
	handle("POST /strava/oauth/revoke", s.apiCall(Strava, Revoke, s.revoke))
	handle("POST /strava/oauth/deauthorize", s.apiCall(Strava, Revoke, s.withToken(s.deauthorize)))
	handle("GET /strava/api/v3/athlete", s.apiCall(Strava, UserInfo, s.withToken(s.userInfo)))
	handle("GET /strava/api/v3/athlete/activities", s.apiCall(Strava, Data, s.withToken(s.activities)))
	s.mountSubscriptions(handle)
	handle("/strava/api/v3/", s.apiCall(Strava, Other, func(w http.ResponseWriter, _ *http.Request) error {
		return writeJSON(w, http.StatusNotFound, stravaError("Record Not Found", "resource", "path", "invalid"))
	}))
}

// stravaError is the one shape of all of Strava's errors.
func stravaError(message, resource, field, code string) object {
	return object{"message": message, "errors": []object{{"resource": resource, "field": field, "code": code}}}
}

func (s strava) authorize(w http.ResponseWriter, r *http.Request) error {
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
		allowed: func(granted []string) string {
			return back + "&code=" + code + "&scope=" + strings.Join(granted, ",")
		},
		denied: back + "&error=access_denied",
	})
}

// stravaChoices turns the scope parameter into boxes, all ticked. The one for read can't be unticked.
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

func (s strava) token(w http.ResponseWriter, r *http.Request) error {
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
		code, found, err := s.consumeCode(r.Context(), Strava, r.Form.Get("code"))
		if err != nil {
			return err
		}
		if !found || !code.Fresh {
			return invalid("RequestToken", "code")
		}
		full, err := s.athletesFull(r.Context(), code.Grant)
		if err != nil {
			return err
		}
		if full {
			return writeJSON(w, http.StatusForbidden, stravaTooManyAthletes())
		}
		names, err := s.isOn(r.Context(), Strava, NamesAthlete)
		if err != nil {
			return err
		}
		more := object{}
		if names {
			more["athlete"] = athlete(code.Grant, s.base, false)
		}
		return s.sendTokens(w, r, code.Grant, rotate, more)
	case "refresh_token":
		take := s.consumeRefresh
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
		return s.sendTokens(w, r, old.Grant, rotate, object{})
	}
	return invalid("Authorize", "grant_type")
}

// athletesFull reports whether the app has as many athletes as it may have.
func (s strava) athletesFull(ctx context.Context, g Grant) (bool, error) {
	limit, err := s.setting(ctx, Strava, AthleteLimit)
	if err != nil || number(limit) == 0 {
		return false, err
	}
	type row struct{ Others int }
	athletes, _, err := oneRow[row](ctx, s.store, "count athletes", `
		SELECT count(DISTINCT g.id) AS others
		FROM cairn_sandbox.grants g
		JOIN cairn_sandbox.tokens t ON t.grant_id = g.id
		WHERE g.provider = $1 AND g.id <> $2`, Strava, g.ID)
	return athletes.Others >= number(limit), err
}

// sendTokens answers with the grant's tokens. At most one refresh token is valid, so a new one ends the others.
func (s strava) sendTokens(w http.ResponseWriter, r *http.Request, g Grant, rotate bool, answer object) error {
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
