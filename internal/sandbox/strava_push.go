package sandbox

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

const stravaTries = 3

// subscription is a subscription to Strava's events. An app may have one.
type subscription struct {
	ID          int64
	CallbackURL string
	CreatedAt   time.Time
}

func (s strava) mountSubscriptions(handle func(string, handler)) {
	const at = "/strava/api/v3/push_subscriptions"
	handle("POST "+at, s.apiCall(Strava, Subscriptions, s.withApp(s.createSubscription)))
	handle("GET "+at, s.apiCall(Strava, Subscriptions, s.withApp(s.listSubscriptions)))
	handle("DELETE "+at+"/{id}", s.apiCall(Strava, Subscriptions, s.withApp(s.deleteSubscription)))
}

// withApp lets a call through that has the app's credentials in its query or form.
func (s strava) withApp(next handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		app := s.apps[Strava]
		for field, want := range map[string]string{"client_id": app.ClientID, "client_secret": app.ClientSecret} {
			if !same(r.Form.Get(field), want) {
				return writeJSON(w, http.StatusBadRequest, stravaError("Bad Request", "Application", field, "invalid"))
			}
		}
		return next(w, r)
	}
}

func (s strava) createSubscription(w http.ResponseWriter, r *http.Request) error {
	refuse := func(field any, code string) error {
		return writeJSON(w, http.StatusBadRequest, object{"message": "Bad Request",
			"errors": []object{{"resource": "PushSubscription", "field": field, "code": code}}})
	}
	callback, token := r.Form.Get("callback_url"), r.Form.Get("verify_token")
	to, err := url.Parse(callback)
	if err != nil || !s.isOurs(callback) || len(callback) > 255 {
		return refuse("callback url", "invalid")
	}
	if token == "" {
		return refuse("verify token", "invalid")
	}
	subscriptions, err := s.subscriptions(r.Context())
	if err != nil {
		return err
	}
	if len(subscriptions) > 0 {
		return refuse(nil, "already exists")
	}
	if why := s.challenge(r.Context(), *to, token); why != "" {
		return refuse("callback url", why)
	}
	made, found, err := oneRow[subscription](r.Context(), s.store, "subscribe", `
		INSERT INTO cairn_sandbox.subscriptions (client_id, callback_url) VALUES ($1, $2)
		ON CONFLICT DO NOTHING
		RETURNING id, callback_url, created_at`, s.apps[Strava].ClientID, callback)
	if err != nil {
		return err
	}
	if !found { // another request was quicker
		return refuse(nil, "already exists")
	}
	return writeJSON(w, http.StatusCreated, s.describeSubscription(made))
}

// subscribe creates the subscription of Options.Hooks, without a challenge.
func (s strava) subscribe(ctx context.Context, callback string) error {
	app, simulated := s.apps[Strava]
	if callback == "" || !simulated {
		return nil
	}
	_, err := s.pool.Exec(ctx, `
		INSERT INTO cairn_sandbox.subscriptions (client_id, callback_url) VALUES ($1, $2)
		ON CONFLICT (client_id) DO UPDATE SET callback_url = EXCLUDED.callback_url`, app.ClientID, callback)
	if err != nil {
		return fmt.Errorf("sandbox: subscribe: %w", err)
	}
	return nil
}

// isOurs reports whether an address is on our own site. The sandbox calls no other machine.
func (s strava) isOurs(callback string) bool {
	return callback != "" && (callback == s.hooked.Strava || s.site != "" && originOf(callback) == s.site)
}

// originOf returns scheme and host of an address, "" if it has none.
func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// challenge verifies the callback, and returns Strava's error code if that fails.
func (s strava) challenge(ctx context.Context, callback url.URL, verifyToken string) string {
	secret := randomHex(16)
	query := callback.Query()
	query.Set("hub.mode", "subscribe")
	query.Set("hub.challenge", secret)
	query.Set("hub.verify_token", verifyToken)
	callback.RawQuery = query.Encode()
	ctx, done := context.WithTimeout(ctx, s.limits.Strava)
	defer done()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, callback.String(), nil)
	if err != nil {
		return "invalid"
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return "not verifiable"
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return "GET to callback URL does not return 200"
	}
	var echo struct {
		Challenge string `json:"hub.challenge"`
	}
	if json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&echo) != nil || !same(echo.Challenge, secret) {
		return "not verifiable"
	}
	return ""
}

func (s strava) listSubscriptions(w http.ResponseWriter, r *http.Request) error {
	subscriptions, err := s.subscriptions(r.Context())
	if err != nil {
		return err
	}
	list := []object{}
	for _, each := range subscriptions {
		list = append(list, s.describeSubscription(each))
	}
	return writeJSON(w, http.StatusOK, list)
}

func (s strava) deleteSubscription(w http.ResponseWriter, r *http.Request) error {
	id, _ := strconv.ParseInt(r.PathValue("id"), 10, 64)
	tag, err := s.pool.Exec(r.Context(), `
		DELETE FROM cairn_sandbox.subscriptions WHERE id = $1 AND client_id = $2`, id, s.apps[Strava].ClientID)
	if err != nil {
		return fmt.Errorf("sandbox: unsubscribe: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return writeJSON(w, http.StatusNotFound, stravaError("Record Not Found", "PushSubscription", "id", "invalid"))
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// subscriptions returns none or one.
func (s strava) subscriptions(ctx context.Context) ([]subscription, error) {
	rows, _ := s.pool.Query(ctx, `
		SELECT id, callback_url, created_at
		FROM cairn_sandbox.subscriptions WHERE client_id = $1`, s.apps[Strava].ClientID)
	subscriptions, err := pgx.CollectRows(rows, pgx.RowToStructByName[subscription])
	if err != nil {
		return nil, fmt.Errorf("sandbox: list subscriptions: %w", err)
	}
	return subscriptions, nil
}

func (s strava) describeSubscription(made subscription) object {
	application, _ := strconv.ParseInt(s.apps[Strava].ClientID, 10, 64) // a number at Strava; 0 if ours is not one
	at := made.CreatedAt.UTC().Format(time.RFC3339)
	return object{"id": made.ID, "resource_state": 2, "application_id": application, "callback_url": made.CallbackURL,
		"created_at": at, "updated_at": at}
}

// revoked sends the event of a revocation.
func (s strava) revoked(ctx context.Context, g Grant) error {
	p, _ := personBy(g.Person)
	return s.event(ctx, "athlete", "update", p.strava, p, object{"authorized": "false"})
}

// activityEvent sends the event of an activity, if the app may see it.
func (s strava) activityEvent(ctx context.Context, aspect string, o activity, updates object) error {
	g, found, err := s.grantOf(ctx, Strava, o.person.key)
	if err != nil || !found || !seesActivity(g, o.private) {
		return err
	}
	return s.event(ctx, "activity", aspect, o.id, o.person, updates)
}

// seesActivity reports whether the scopes cover a private or a public activity.
func seesActivity(g Grant, private bool) bool {
	return seesPrivate(g) || !private && slices.Contains(g.Permissions, "activity:read")
}

func seesPrivate(g Grant) bool { return slices.Contains(g.Permissions, "activity:read_all") }

func (s strava) event(ctx context.Context, kind, aspect string, id int64, owner person, updates object) error {
	if _, simulated := s.apps[Strava]; !simulated {
		return nil
	}
	subscriptions, err := s.subscriptions(ctx)
	if err != nil || len(subscriptions) == 0 || !s.isOurs(subscriptions[0].CallbackURL) {
		return err
	}
	n, err := jsonWebhook(webhook{
		provider: Strava, what: kind + " " + aspect, url: subscriptions[0].CallbackURL,
		timeout: s.limits.Strava, tries: stravaTries, growth: 1,
	}, "application/json", object{
		"object_type": kind, "object_id": id, "aspect_type": aspect, "updates": updates,
		"owner_id": owner.strava, "subscription_id": subscriptions[0].ID, "event_time": time.Now().Unix(),
	})
	if err != nil {
		return err
	}
	signed, err := s.isOn(ctx, Strava, SignEvents)
	if err != nil {
		return err
	}
	if signed {
		n.header.Set("X-Strava-Signature", s.signature(n.body))
	}
	return s.send(ctx, n)
}

// signature returns the signature that Strava's events are said to have; reports differ.
func (s strava) signature(body []byte) string {
	at := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(s.apps[Strava].ClientSecret))
	mac.Write([]byte(at + "."))
	mac.Write(body)
	return "t=" + at + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// destination says where Strava's events go.
func (s strava) destination(ctx context.Context) (string, error) {
	subscriptions, err := s.subscriptions(ctx)
	if err != nil || len(subscriptions) == 0 {
		return "There is no subscription, so no events are sent.", err
	}
	to := originOf(subscriptions[0].CallbackURL) // the path holds a key
	return "Subscription " + strconv.FormatInt(subscriptions[0].ID, 10) + " sends events to " + to, nil
}
