package sandbox

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
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

// garminPermissions are the choices on Garmin's consent page. History is off by default.
var garminPermissions = []choice{
	{Value: "ACTIVITY_EXPORT", Label: "Activities", Checked: true},
	{Value: "HEALTH_EXPORT", Label: "Daily health: steps, sleep, heart rate", Checked: true},
	{Value: "HISTORICAL_DATA_EXPORT", Label: "Historical data, from before today"},
}

func (garmin) describe() description {
	return description{
		key: Garmin, name: "Garmin Connect", calls: []string{Exchange, Refresh, UserInfo, Permissions, Data, Revoke},
		expires: true, scoped: true, pulls: true,
	}
}

func (garmin) endpoints(base string) Endpoints {
	return Endpoints{base + "/oauth2Confirm", base + "/di-oauth2-service/oauth/token", base,
		base + "/wellness-api/rest/user/registration"}
}

func (garmin) subject(p person) string { return p.garmin }

func (garmin) controls() []control {
	return []control{
		{Name: KeepOldRefresh, Label: "Used refresh tokens still work", Values: offOn},
		{
			Name: PullHeader, Label: "Authorization at a callbackURL",
			Values: []string{Ignored, Forbidden, Required},
		},
		{Name: ActivitiesBy, Label: "Activities by", Values: []string{Push, Ping}},
		{Name: Activities, Label: "Send activities", Values: onOff},
		{Name: Deregistrations, Label: "Send deregistrations", Values: onOff},
		{Name: PermissionChanges, Label: "Send permission changes", Values: onOff},
	}
}

// meter does nothing: Garmin documents no quota that a server of our size would reach.
func (garmin) meter(http.Header, *http.Request, string) (refusal func(http.ResponseWriter) error, err error) {
	return nil, nil
}

// destination is "": the switches show it.
func (garmin) destination(context.Context) (string, error) { return "", nil }

func (s garmin) mount(handle func(string, handler)) {
	handle("GET /garmin/oauth2Confirm", s.authorize)
	handle("POST /garmin/oauth2Confirm", s.authorize)
	handle("POST /garmin/di-oauth2-service/oauth/token", s.tokenCall(Garmin, s.token))
	api := "/garmin/wellness-api/rest/"
	handle("GET "+api+"user/id", s.apiCall(Garmin, UserInfo, s.withToken(s.userInfo)))
	handle("GET "+api+"user/permissions", s.apiCall(Garmin, Permissions, s.withToken(s.permissions)))
	handle("DELETE "+api+"user/registration", s.apiCall(Garmin, Revoke, s.withToken(s.deregister)))
	handle("GET "+api+"backfill/activities", s.apiCall(Garmin, Data, s.withToken(s.backfill)))
	handle("GET "+api+"activities", s.apiCall(Garmin, Data, s.activities))
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

func (s garmin) authorize(w http.ResponseWriter, r *http.Request) error {
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

// token takes the client's credentials from the form only: that Basic works is not proven for Garmin.
func (s garmin) token(w http.ResponseWriter, r *http.Request) error {
	refuse := func(status int, code, description string) error {
		return writeJSON(w, status, object{"error": code, "error_description": description})
	}
	form, app := r.PostForm, s.apps[Garmin]
	if form.Get("client_id") != app.ClientID || !same(form.Get("client_secret"), app.ClientSecret) {
		return refuse(http.StatusUnauthorized, "invalid_client", "Bad client credentials")
	}
	switch form.Get("grant_type") {
	case "authorization_code":
		code, found, err := s.consumeCode(r.Context(), Garmin, form.Get("code"))
		if err != nil {
			return err
		}
		secret := form.Get("code_verifier")
		proven := verifier.MatchString(secret) && same(challengeOf(secret), code.Challenge)
		if !found || !code.Fresh || !proven || form.Get("redirect_uri") != code.RedirectURI {
			return refuse(http.StatusBadRequest, "invalid_grant",
				"Invalid authorization code, verifier or redirect_uri")
		}
		return s.sendTokens(w, r, code.Grant)
	case "refresh_token":
		keep, err := s.isOn(r.Context(), Garmin, KeepOldRefresh)
		if err != nil {
			return err
		}
		take := s.consumeRefresh
		if keep {
			take = s.findRefresh
		}
		old, found, err := take(r.Context(), Garmin, form.Get("refresh_token"))
		if err != nil {
			return err
		}
		if !found || !old.Fresh { // Garmin repeats the token in its error: do not log it
			return refuse(http.StatusBadRequest, "invalid_grant", "Invalid refresh token: "+form.Get("refresh_token"))
		}
		return s.sendTokens(w, r, old.Grant)
	}
	return refuse(http.StatusBadRequest, "unsupported_grant_type", "Unsupported grant type")
}

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (s garmin) sendTokens(w http.ResponseWriter, r *http.Request, g Grant) error {
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
