package sandbox

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// consent is a valid authorization request: what to ask, and where Allow and Deny lead.
type consent struct {
	provider    string
	redirectURI string
	challenge   string   // PKCE S256, empty without
	field       string   // form field of the choices: "scope" or "permission"
	choices     []choice // what can be ticked; none at Foursquare
	code        string   // for Allow
	allowed     func(granted []string) string
	denied      string
}

// choice is one box on the consent page.
type choice struct {
	Value, Label string
	Checked      bool
	Fixed        bool // granted whatever the form says
}

type consentPage struct {
	page
	Origin      string // of the app that asks
	RedirectURI string
	Field       string
	Choices     []choice
	People      []personView
}

type personView struct {
	Key, Name, Place, Subject, Picture string
	Checked                            bool
}

// ask shows the consent page, or on POST acts on the button that was pressed.
func (s *Sandbox) ask(w http.ResponseWriter, r *http.Request, c consent) error {
	if r.Method == http.MethodPost {
		return s.decide(w, r, c)
	}
	target, err := url.Parse(c.redirectURI)
	if err != nil {
		return fmt.Errorf("sandbox: parse redirect URI that was accepted: %w", err)
	}
	origin := target.Scheme + "://" + target.Host
	data := consentPage{page: s.page(c.provider, "Connect "+target.Host), Origin: origin, RedirectURI: c.redirectURI,
		Field: c.field, Choices: c.choices}
	for i, p := range people {
		data.People = append(data.People, personView{
			Key: p.key, Name: p.name(), Place: p.city + ", " + p.country,
			Subject: providerOf(s, c.provider).subject(p),
			Picture: s.path + "/people/small/" + p.key + ".svg", Checked: i == 0,
		})
	}
	// Chromium applies form-action to every redirect that follows the form, so the redirect URI must be allowed.
	return s.render(w, http.StatusOK, "consent", origin, data)
}

func (s *Sandbox) decide(w http.ResponseWriter, r *http.Request, c consent) error {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	if err := r.ParseForm(); err != nil {
		return s.refuse(w, c.provider, "The form could not be read.")
	}
	switch r.PostForm.Get("decision") {
	case "deny":
		return redirect(w, c.denied)
	case "allow":
		p, known := personBy(r.PostForm.Get("person"))
		if !known {
			return s.refuse(w, c.provider, "There is no person of that name. Go back and choose one.")
		}
		granted := c.granted(r.PostForm[c.field])
		if err := s.allow(r.Context(), c, p.key, granted); err != nil {
			return err
		}
		return redirect(w, c.allowed(granted))
	}
	return s.refuse(w, c.provider, "Choose Allow or Deny.")
}

// granted returns the choices that were ticked, in the order of the request.
func (c consent) granted(ticked []string) []string {
	granted := []string{} // never nil: the column is NOT NULL
	for _, choice := range c.choices {
		if choice.Fixed || slices.Contains(ticked, choice.Value) {
			granted = append(granted, choice.Value)
		}
	}
	return granted
}

type refusalPage struct {
	page
	Why string
}

// refuse shows why an authorization request is refused. It does not redirect to the client that made it.
func (s *Sandbox) refuse(w http.ResponseWriter, provider, why string) error {
	return s.render(w, http.StatusBadRequest, "refusal", "", refusalPage{s.page(provider, "That did not work"), why})
}

// redirect sends the address as it is: http.Redirect would clean it.
func redirect(w http.ResponseWriter, to string) error {
	w.Header().Set("Location", to)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// withQuery appends the parameters in the given order (name, value, name, value …), leaving out empty values.
func withQuery(uri string, pairs ...string) string {
	var query strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			continue
		}
		if query.Len() > 0 {
			query.WriteByte('&')
		}
		query.WriteString(pairs[i] + "=" + url.QueryEscape(pairs[i+1]))
	}
	if strings.Contains(uri, "?") {
		return uri + "&" + query.String()
	}
	return uri + "?" + query.String()
}
