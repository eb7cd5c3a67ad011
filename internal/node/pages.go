package node

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"cairn/internal/activity"
	"cairn/internal/auth"
	"cairn/internal/connection"
	"cairn/internal/routes"
	"cairn/internal/session"
)

// The page of a link, and the one that ends a private link.
const (
	linkPage = "/link"
	endPage  = "/account/link/end"
	linkID   = "private-link" // of the section of the account page
)

// arriving is the link that people from the Node server may have. That server's pages took its private link at four
// addresses.
var arriving = routes.SecretLink{
	Name: "link", From: []string{"/", "/import", "/year-in-review", "/data-sources", linkPage}, Param: "token",
	Page: linkPage, Valid: validToken, Refused: "unknown-link",
}

// linksHere are all links that arrive here.
func (n *Node) linksHere() []routes.SecretLink {
	if n.deps.Config.Node.FrontendURL == nil {
		return []routes.SecretLink{arriving}
	}
	return []routes.SecretLink{arriving, toContinue}
}

// part is the change-over in a site, with the stores that are made after it.
type part struct {
	*Node
	connections *connection.Store
	entries     *activity.Store
}

// Part is what the change-over adds to the site.
func (n *Node) Part(connections *connection.Store, entries *activity.Store) routes.Part {
	p := part{n, connections, entries}
	return routes.Part{
		Links: n.linksHere(), Routes: p.routes, API: p.api, Foreign: n.foreign(), Unknown: p.unknown,
		Returns: map[string]routes.Return{
			toConnect: p.returned(frontend.connected), toLogin: p.returned(frontend.loggedIn),
		},
		Exports: exports(n.deps.Pool), Section: n.section, LockOut: n.lockOut(),
		Methods: map[string]string{
			PrivateLink:  "with your old private link",
			OperatorLink: "with a link from the operator",
			NodeSession:  "on the old site",
		},
		Notices: map[string]func(routes.Site) string{"unknown-link": unknownLink, "old-request": oldRequest},
	}
}

// unknownLink names Foursquare only where people can sign in with it.
func unknownLink(site routes.Site) string {
	way := "ask the operator of this site for another one."
	if site.Provider(foursquare) != nil {
		way = "sign in with Foursquare, as you did the first time."
	}
	return "This link doesn’t work any more, or part of it is missing. Your account is still here: " + way
}

func oldRequest(routes.Site) string {
	return "That page was open for too long, or its button was pressed already. " +
		"To connect an account, go back to where you began and try again."
}

func (p part) routes(site routes.Site, r chi.Router) {
	if f, ok := p.frontend(site); ok {
		r.Get(continuePage, site.Page(f.askToConnect))
		r.Head(continuePage, site.Page(f.askToConnect))
		r.Post(continuePage, site.Page(f.connect))
	}
	l := pages{p.links, site, arriving, p.deps.Observe}
	r.Get(linkPage, site.Page(l.ask))
	r.Head(linkPage, site.Page(l.ask))
	r.Post(linkPage, site.Page(l.signIn))
	r.Group(func(r chi.Router) {
		r.Use(site.MustSignIn)
		r.Get(endPage, site.Page(l.askToEnd))
		r.Head(endPage, site.Page(l.askToEnd))
		r.With(site.Limited()).Post(endPage, site.Page(l.end))
	})
}

// pages are the pages about links.
type pages struct {
	links
	site    routes.Site
	link    routes.SecretLink
	adopted func(kind, result string)
}

// owner is the user that a link leads to, and how a session would begin.
type owner struct {
	userID int64
	method string
}

// found returns whose link this browser has opened. Only unknown tokens count for the network. Errors: errLink.
func (p pages) found(r *http.Request) (owner, error) {
	token := p.site.Secret(r, p.link)
	if token == "" {
		return owner{}, errLink
	}
	userID, method, err := p.find(r.Context(), token)
	if errors.Is(err, errLink) {
		return owner{}, errors.Join(p.site.Allow(r, p.site.Limits().LinkNetwork.From(p.site.Address(r))), err)
	}
	if err != nil {
		return owner{}, err
	}
	return owner{userID, method}, nil
}

// ask names the account that a link leads to, and asks whether to go on as that person.
func (p pages) ask(w http.ResponseWriter, r *http.Request) error {
	of, err := p.found(r)
	if err != nil {
		return p.refuse(w, r, err)
	}
	account, err := p.site.Account(r.Context(), of.userID)
	if err != nil {
		return err
	}
	name := account.Name
	v := routes.Warning{
		Heading: "Continue as " + name + "?", Lead: "The link you opened signs in to this account.", Harmless: true,
		Losses: []routes.Loss{{Icon: "key", Text: "You’ll be signed in on this device",
			Detail: "Continue only if this is your account"}},
		Button: "Continue as " + name, Keep: routes.Link{Label: "Not now", URL: "/login"},
		About: p.site.About(r, p.link),
	}
	if current, ok := session.Current(r.Context()); ok {
		if current.UserID == of.userID && of.method == PrivateLink {
			p.site.DropSecret(w, p.link)
			p.site.Notify(r, "", "You’re signed in already.", routes.Link{})
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return nil
		}
		v.Losses = append(v.Losses, routes.Loss{Icon: "logout", Text: "You’ll be signed out as " + current.Name,
			Detail: "Nothing changes in that account"})
		v.Keep = routes.Link{Label: "Stay signed in as " + current.Name, URL: "/"}
	}
	return p.site.Ask(w, r, v)
}

// refuse answers what found returns.
func (p pages) refuse(w http.ResponseWriter, r *http.Request, err error) error {
	if limit, limited := errors.AsType[*auth.LimitError](err); limited {
		return limit
	}
	if !errors.Is(err, errLink) {
		return err
	}
	p.site.RefuseLink(w, r, p.link)
	return nil
}

// signIn begins a session of the account that a link leads to.
func (p pages) signIn(w http.ResponseWriter, r *http.Request) error {
	if !p.site.IsAbout(r, p.link) {
		http.Redirect(w, r, linkPage, http.StatusSeeOther)
		return nil
	}
	of, err := p.found(r)
	if err == nil {
		err = p.site.Allow(r, p.site.Limits().LinkSignIn.Of(of.userID))
	}
	if err == nil {
		err = p.site.SignIn(w, r, of.method, p.prove(p.site.Secret(r, p.link), of.userID))
	}
	if err != nil {
		return p.refuse(w, r, err)
	}
	p.site.DropSecret(w, p.link)
	p.adopted("link", adopted)
	p.site.Notify(r, "", p.signedIn(of.method), routes.Link{Label: "Add a password", URL: addPassword})
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

// addPassword asks for a recent sign-in first, if this was none, and then leads to the form for a password.
const addPassword = "/account/confirm?next=/account%23h-password"

// signedIn says how long a link was good for.
func (p pages) signedIn(method string) string {
	way := "a password."
	if p.site.Provider(foursquare) != nil { // the operator may have no keys of it
		way = "Foursquare or a password."
	}
	if method == OperatorLink {
		return "You’re signed in. The link can’t be used again: next time, use " + way
	}
	return "You’re signed in. Your old private link works until " + p.lastDay() + ": after that, use " + way
}

// lastDay is the last day on which private links work.
func (l links) lastDay() string { return l.until.UTC().Add(-time.Second).Format("2 January 2006") }

// section is about the private link of the signed-in person.
func (n *Node) section(r *http.Request) (*routes.Section, error) {
	current, _ := session.Current(r.Context())
	works, err := n.links.works(r.Context(), current.UserID)
	if err != nil || !works {
		return nil, err
	}
	return &routes.Section{
		ID: linkID, Icon: "link", Heading: "Your old private link",
		Text: fmt.Sprintf("It still works until %s: anyone who opens it can sign in as you. "+
			"End it if anyone else may have it.", n.links.lastDay()),
		Action: routes.Link{Label: "End this link…", URL: endPage},
	}, nil
}

func (p pages) askToEnd(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	works, err := p.works(r.Context(), current.UserID)
	switch {
	case err != nil:
		return err
	case !works:
		return p.site.NotFound()
	}
	v := routes.Warning{
		Heading: "End your old private link?",
		Losses: []routes.Loss{
			{Icon: "link", Text: "Nobody can sign in with it here any more", Detail: "Bookmarks of it stop working"},
			{Icon: "key", Text: "You stay signed in", Detail: "Your sign-in methods work as before"},
		},
		Button: "End this link", Keep: routes.Link{Label: "Keep it", URL: "/account#" + linkID},
	}
	if !p.both {
		v.Losses = append(v.Losses, routes.Loss{Icon: "info-circle", Text: "It still works on the old site",
			Detail: "For as long as that site is there"})
	}
	return p.site.Ask(w, r, v)
}

func (p pages) end(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	if err := p.links.end(r.Context(), current.UserID); err != nil {
		return err
	}
	p.site.Notify(r, "sessions", "Your old private link has ended.", routes.Link{})
	http.Redirect(w, r, "/account#sessions", http.StatusSeeOther)
	return nil
}
