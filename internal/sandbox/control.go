package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

type controlPage struct {
	page
	Providers []providerView
	PullURL   string // just made, to be shown once
}

type providerView struct {
	Key, Name    string
	Controls     []controlView // but those of single calls
	CallControls []controlView
	CallChanged  bool // one of them is
	Failing      bool
	Expires      bool // its access tokens expire
	Metered      bool // it has a quota
	Codes        int  // token requests by grant type
	Refreshes    int
	Scoped       bool   // its grants have permissions
	Destination  string // where events go; "": see the switches
	Deliveries   []Delivery
	Connections  []connectionView
}

type controlView struct {
	control
	Value   string
	Changed bool // not at its default
}

type connectionView struct {
	Grant
	Name, Subject, Picture, Tokens string
	Pulls                          bool // data is fetched through a ping's URL
	Acts                           []action
}

func (s *Sandbox) controlPage(w http.ResponseWriter, r *http.Request) error {
	return s.showControl(w, r, "")
}

func (s *Sandbox) showControl(w http.ResponseWriter, r *http.Request, pullURL string) error {
	data := controlPage{page: s.page("", "Control page"), PullURL: pullURL}
	for _, p := range s.providers() {
		view, err := s.providerView(r.Context(), p)
		if err != nil {
			return err
		}
		data.Providers = append(data.Providers, view)
	}
	return s.render(w, http.StatusOK, "control", "", data)
}

func (s *Sandbox) providerView(ctx context.Context, p provider) (providerView, error) {
	d := p.describe()
	v := providerView{Key: d.key, Name: d.name, Expires: d.expires, Metered: d.metered, Scoped: d.scoped}
	at, err := s.settings(ctx, d.key)
	if err != nil {
		return v, err
	}
	for _, c := range controlsOf(p) {
		view := controlView{c, at[c.Name], at[c.Name] != c.Values[0]}
		v.Failing = v.Failing || c.Fails && view.Changed
		if slices.Contains(d.calls, c.Name) {
			v.CallControls = append(v.CallControls, view)
			v.CallChanged = v.CallChanged || view.Changed
		} else {
			v.Controls = append(v.Controls, view)
		}
	}
	requests, err := s.TokenRequests(ctx, d.key)
	if err != nil {
		return v, err
	}
	v.Codes, v.Refreshes = requests["authorization_code"], requests["refresh_token"]
	if v.Deliveries, err = s.Deliveries(ctx, d.key); err != nil {
		return v, err
	}
	v.Deliveries = v.Deliveries[:min(5, len(v.Deliveries))]
	if v.Destination, err = p.destination(ctx); err != nil {
		return v, err
	}
	v.Connections, err = s.connections(ctx, p)
	return v, err
}

func (s *Sandbox) connections(ctx context.Context, at provider) ([]connectionView, error) {
	type stored struct {
		Grant
		Issued, Live bool
		Ends         *time.Time
	}
	rows, _ := s.pool.Query(ctx, `
		SELECT g.id, g.provider, g.person, g.permissions, g.granted_at,
			count(t.id) > 0 AS issued,
			coalesce(bool_or(t.expires_at IS NULL OR t.expires_at > now()), false) AS live,
			max(t.expires_at) AS ends
		FROM cairn_sandbox.grants g
		LEFT JOIN cairn_sandbox.tokens t ON t.grant_id = g.id AND t.kind = 'access'
		WHERE g.provider = $1
		GROUP BY g.id
		ORDER BY g.granted_at DESC, g.id DESC`, at.describe().key)
	grants, err := pgx.CollectRows(rows, pgx.RowToStructByName[stored])
	if err != nil {
		return nil, fmt.Errorf("sandbox: list connections: %w", err)
	}
	var views []connectionView
	for _, g := range grants {
		p, _ := personBy(g.Person)
		v := connectionView{
			Grant:   g.Grant,
			Name:    p.name(),
			Subject: at.subject(p),
			Pulls:   at.describe().pulls,
			Acts:    at.actions(),
			Picture: s.path + "/people/small/" + p.key + ".svg",
		}
		switch {
		case !g.Issued:
			v.Tokens = "Allowed, but no tokens fetched yet"
		case !g.Live:
			v.Tokens = "Access token expired"
		case g.Ends == nil:
			v.Tokens = "Access token that doesn't expire"
		default:
			v.Tokens = "Access token good until " + g.Ends.UTC().Format("2 Jan, 15:04 UTC")
		}
		views = append(views, v)
	}
	return views, nil
}

func (s *Sandbox) postSwitches(w http.ResponseWriter, r *http.Request) error {
	key := r.PathValue("provider")
	p, ok := s.simulated(key)
	if !ok {
		return s.notFound(w, r)
	}
	for _, c := range controlsOf(p) {
		if err := s.SetSwitch(r.Context(), key, c.Name, r.PostFormValue(c.Name)); err != nil {
			return s.refuse(w, "", err.Error())
		}
	}
	return s.backTo(w, key)
}

func (s *Sandbox) postExpire(w http.ResponseWriter, r *http.Request) error {
	provider := r.PathValue("provider")
	if err := s.ExpireTokens(r.Context(), provider); err != nil {
		return err
	}
	return s.backTo(w, provider)
}

// postRevoke ignores a grant that is gone.
func (s *Sandbox) postRevoke(w http.ResponseWriter, r *http.Request) error {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return s.notFound(w, r)
	}
	if err := s.RevokeGrant(r.Context(), id); err != nil && !errors.Is(err, ErrNoGrant) {
		return err
	}
	return s.backTo(w, "")
}

// postPull shows the URL in its response, because it is a secret and not stored.
func (s *Sandbox) postPull(w http.ResponseWriter, r *http.Request) error {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return s.notFound(w, r)
	}
	pullURL, err := s.PullURL(r.Context(), id)
	if errors.Is(err, ErrNoGrant) {
		return s.notFound(w, r)
	}
	if err != nil {
		return err
	}
	return s.showControl(w, r, pullURL)
}

// backTo redirects to the control page, to the section of a provider if key is one.
func (s *Sandbox) backTo(w http.ResponseWriter, key string) error {
	to := s.path + "/"
	if slices.Contains(keys, key) {
		to += "#" + key
	}
	return redirect(w, to)
}
