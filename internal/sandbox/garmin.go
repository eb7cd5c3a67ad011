package sandbox

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// Garmin's lifetimes; a refresh token lasts about 90 days, a pull token as long as the ping that carries it.
const (
	garminAccessLife  = 24 * time.Hour
	garminRefreshLife = 7775998 * time.Second
	garminScope       = "PARTNER_WRITE PARTNER_READ CONNECT_READ CONNECT_WRITE"
)

func garminAccess() tokenSpec {
	return tokenSpec{kind: "access", life: garminAccessLife, text: garminJWT}
}

func garminRefresh() tokenSpec {
	return tokenSpec{kind: "refresh", life: garminRefreshLife, text: func(seed [32]byte) string {
		value := fmt.Sprintf(`{"refreshTokenValue":"%x","garminGuid":"%s"}`, seed[:16], uuid(seed[16:]))
		return base64.StdEncoding.EncodeToString([]byte(value))
	}}
}

func garminPull() tokenSpec {
	return tokenSpec{
		kind: "pull",
		life: 24 * time.Hour,
		text: func(seed [32]byte) string { return hex.EncodeToString(seed[:16]) },
	}
}

// garminJWT looks like Garmin's access tokens and is as long (over 1000 characters), but nothing can be read from it.
func garminJWT(seed [32]byte) string {
	noise := make([]byte, 900)
	_, _ = rand.NewChaCha8(seed).Read(noise)
	part := base64.RawURLEncoding.EncodeToString
	header, _ := json.Marshal(object{"alg": "RS256", "typ": "JWT", "kid": "sandbox"})
	return part(header) + "." + part(noise[:640]) + "." + part(noise[640:])
}

func uuid(b []byte) string {
	return fmt.Sprintf("%x-%x-4%x-8%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])[:36]
}

// garminPermissions are the switches of Garmin's consent page. History is off until the person asks for it.
var garminPermissions = []choice{
	{Value: "ACTIVITY_EXPORT", Label: "Activities", Checked: true},
	{Value: "HEALTH_EXPORT", Label: "Daily health: steps, sleep, heart rate", Checked: true},
	{Value: "HISTORICAL_DATA_EXPORT", Label: "Historical data, from before today"},
}

func (s *Sandbox) mountGarmin(handle func(string, handler)) {
	handle("GET /garmin/oauth2Confirm", s.garminAuthorize)
	handle("POST /garmin/oauth2Confirm", s.garminAuthorize)
	handle("POST /garmin/di-oauth2-service/oauth/token", s.tokenCall(Garmin, s.garminToken))
	api := "/garmin/wellness-api/rest/"
	handle("GET "+api+"user/id", s.apiCall(Garmin, WhoAmI, s.garminAs(s.garminUserID)))
	handle("GET "+api+"user/permissions", s.apiCall(Garmin, Permissions, s.garminAs(s.garminUserPermissions)))
	handle("DELETE "+api+"user/registration", s.apiCall(Garmin, Revoke, s.garminAs(s.garminDeregister)))
	handle("GET "+api+"backfill/activities", s.apiCall(Garmin, Data, s.garminAs(s.garminBackfill)))
	handle("GET "+api+"activities", s.apiCall(Garmin, Data, s.garminActivities))
	handle(api, s.apiCall(Garmin, Other, func(w http.ResponseWriter, _ *http.Request) error {
		return garminProblem(w, http.StatusNotFound, "Not found")
	}))
}

func garminProblem(w http.ResponseWriter, status int, message string) error {
	return writeJSON(w, status, object{"errorMessage": message})
}

var (
	s256     = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)
	verifier = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)
)

func (s *Sandbox) garminAuthorize(w http.ResponseWriter, r *http.Request) error {
	query, app := r.URL.Query(), s.apps[Garmin]
	challenge, redirectURI := query.Get("code_challenge"), query.Get("redirect_uri")
	switch {
	case query.Get("client_id") != app.ClientID:
		return s.refuse(w, Garmin, "The client_id is not one we know.")
	case redirectURI != app.RedirectURI:
		return s.refuse(w, Garmin, "The redirect_uri is not the one registered for this app.")
	case query.Get("response_type") != "code":
		return s.refuse(w, Garmin, "The response_type must be code.")
	case query.Get("code_challenge_method") != "S256" || !s256.MatchString(challenge):
		return s.refuse(w, Garmin, "A code_challenge is needed, with code_challenge_method S256.")
	}
	code, state := randomHex(16), query.Get("state")
	return s.ask(w, r, consent{
		provider: Garmin, redirectURI: redirectURI, challenge: challenge, field: "permission",
		choices: garminPermissions, code: code,
		allowed: func([]string) string { return withQuery(redirectURI, "code", code, "state", state) },
		denied:  withQuery(redirectURI, "error", "access_denied", "state", state),
	})
}

// garminToken takes the client's credentials from the form only: that Basic works is not proven for Garmin.
func (s *Sandbox) garminToken(w http.ResponseWriter, r *http.Request) error {
	refuse := func(status int, code, description string) error {
		return writeJSON(w, status, object{"error": code, "error_description": description})
	}
	form, app := r.PostForm, s.apps[Garmin]
	if form.Get("client_id") != app.ClientID || !same(form.Get("client_secret"), app.ClientSecret) {
		return refuse(http.StatusUnauthorized, "invalid_client", "Bad client credentials")
	}
	switch form.Get("grant_type") {
	case "authorization_code":
		code, found, err := s.spendCode(r.Context(), Garmin, form.Get("code"))
		if err != nil {
			return err
		}
		secret := form.Get("code_verifier")
		proven := verifier.MatchString(secret) && same(challengeOf(secret), code.Challenge)
		if !found || !code.Fresh || !proven || form.Get("redirect_uri") != code.RedirectURI {
			return refuse(http.StatusBadRequest, "invalid_grant",
				"Invalid authorization code, verifier or redirect_uri")
		}
		return s.garminPair(w, r, code.Grant)
	case "refresh_token":
		keep, err := s.isOn(r.Context(), Garmin, KeepOldRefresh)
		if err != nil {
			return err
		}
		take := s.spendRefresh
		if keep {
			take = s.findRefresh
		}
		old, found, err := take(r.Context(), Garmin, form.Get("refresh_token"))
		if err != nil {
			return err
		}
		if !found || !old.Fresh { // Garmin repeats the token in its answer: a trap for whoever logs it
			return refuse(http.StatusBadRequest, "invalid_grant", "Invalid refresh token: "+form.Get("refresh_token"))
		}
		return s.garminPair(w, r, old.Grant)
	}
	return refuse(http.StatusBadRequest, "unsupported_grant_type", "Unsupported grant type")
}

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (s *Sandbox) garminPair(w http.ResponseWriter, r *http.Request, g Grant) error {
	access, err := s.issue(r.Context(), g, garminAccess())
	if err != nil {
		return err
	}
	refresh, err := s.issue(r.Context(), g, garminRefresh())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, object{
		"access_token": access.Text, "token_type": "bearer", "expires_in": access.Left,
		"refresh_token": refresh.Text, "refresh_token_expires_in": refresh.Left,
		"scope": garminScope, "jti": uuid(hashOf(access.Text)),
	})
}

// garminAs lets a call through that has a good access token. An expired one is 401, one that is not known, as after
// the person has removed our app, 403.
func (s *Sandbox) garminAs(next func(http.ResponseWriter, *http.Request, Grant) error) handler {
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

func (s *Sandbox) garminUserID(w http.ResponseWriter, _ *http.Request, g Grant) error {
	p, _ := personBy(g.Person)
	return writeJSON(w, http.StatusOK, object{"userId": p.subject(Garmin)})
}

func (s *Sandbox) garminUserPermissions(w http.ResponseWriter, _ *http.Request, g Grant) error {
	return writeJSON(w, http.StatusOK, object{"permissions": g.Permissions})
}

func (s *Sandbox) garminDeregister(w http.ResponseWriter, r *http.Request, g Grant) error {
	if err := s.RevokeGrant(r.Context(), g.ID); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// refusesHeader tells whether Garmin minds the request's Authorization header, or that there is none: reports differ.
func (s *Sandbox) refusesHeader(r *http.Request) (bool, error) {
	want, err := s.position(r.Context(), Garmin, PullHeader)
	has := r.Header.Get("Authorization") != ""
	return want == Forbidden && has || want == Required && !has, err
}

// garminActivities needs a pull token, which only a ping's callback URL has: an access token alone gets nothing.
func (s *Sandbox) garminActivities(w http.ResponseWriter, r *http.Request) error {
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
	for _, o := range d.outings {
		if at := o.uploaded().Unix(); from <= at && at <= to {
			summaries = append(summaries, o.garminSummary())
		}
	}
	return writeJSON(w, http.StatusOK, summaries)
}

func garminFailure(call string, status int) any {
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
