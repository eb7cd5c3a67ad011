package routes

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// A secret link is a link whose token lets its holder do something once they confirm it. Scanners, previews and
// histories see links, so a GET does nothing: it moves the token from the address into a cookie, and redirects to a
// page without it. That page names what will happen and to which account. A POST from there does it and clears the
// cookie.

// SecretLink is a kind of secret link.
type SecretLink struct {
	Name  string   // of the cookie
	From  []string // paths at which links arrive, with the token in the query
	Param string   // its name there
	Page  string   // the path of the page that asks
	// Valid reports whether a token has the right shape. Others are refused without a query.
	Valid func(token string) bool
	// Refused is the code of the notice that visitors read on the sign-in page instead (Part.Notices).
	Refused string
	// Life is how long the token stays in the cookie; 0: 10 minutes.
	Life time.Duration
}

// at returns the address at which a link with a token arrives.
func (l SecretLink) at(site *url.URL, token string) string {
	to := site.JoinPath(l.From[0])
	to.RawQuery = url.Values{l.Param: {token}}.Encode()
	return to.String()
}

// ResetURL returns the address of a link with which a person can choose a new password.
func ResetURL(site *url.URL, token string) string { return resetLink.at(site, token) }

// InviteURL returns the address of a link that makes an account.
func InviteURL(site *url.URL, token string) string { return inviteLink.at(site, token) }

// secretLinkLife is how long a token stays in the cookie whose link doesn't say that.
const secretLinkLife = 10 * time.Minute

// secretLinks takes links with a secret before anything else reads their addresses.
func (s *server) secretLinks(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "" || r.Method != http.MethodGet && r.Method != http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		query := r.URL.Query()
		for _, l := range s.links {
			if slices.Contains(l.From, r.URL.Path) && query.Has(l.Param) {
				s.takeSecret(w, r, l, query[l.Param])
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// takeSecret redirects to the page of a link, with the token in a cookie. A doubled token is none.
func (s *server) takeSecret(w http.ResponseWriter, r *http.Request, l SecretLink, tokens []string) {
	w.Header().Set("Cache-Control", "no-store")
	// The page has no secret in its address, so it keeps the policy with which old browsers send Origin with a form.
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("X-Robots-Tag", "noindex")
	if len(tokens) != 1 || !l.Valid(tokens[0]) {
		redirect(w, r, "/login?notice="+l.Refused)
		return
	}
	s.setCookie(w, l.Name, tokens[0], cmp.Or(l.Life, secretLinkLife))
	redirect(w, r, l.Page)
}

// Secret returns the token of a link that this browser has opened, "" if there is none.
func (t Site) Secret(r *http.Request, l SecretLink) string {
	cookies := r.CookiesNamed(t.s.cookieName(l.Name))
	if len(cookies) != 1 || !l.Valid(cookies[0].Value) {
		return ""
	}
	return cookies[0].Value
}

// About stands for the link that this browser has opened, in the form of the page that asks (Warning.About). Nobody can
// tell the token from it.
func (t Site) About(r *http.Request, l SecretLink) string {
	sum := sha256.Sum256([]byte("about " + t.Secret(r, l)))
	return hex.EncodeToString(sum[:8])
}

// IsAbout reports whether a form is from a page that asked about the link that this browser has opened last. Another
// site may have opened one since, of another account.
func (t Site) IsAbout(r *http.Request, l SecretLink) bool {
	return r.PostForm.Get("about") == t.About(r, l)
}

// DropSecret clears the cookie with the token of a link.
func (t Site) DropSecret(w http.ResponseWriter, l SecretLink) {
	t.s.setCookie(w, l.Name, "", -time.Second)
}

// RefuseLink drops the token of a link that doesn't work, and redirects to the sign-in page, which says so.
func (t Site) RefuseLink(w http.ResponseWriter, r *http.Request, l SecretLink) {
	t.DropSecret(w, l)
	redirect(w, r, "/login?notice="+l.Refused)
}
