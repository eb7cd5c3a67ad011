package routes

import (
	"bytes"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	"cairn/internal/oauth"
	"cairn/internal/session"
)

// pageSet is one page with the layout and the partials.
type pageSet = *template.Template

// view is what every page has.
type view struct {
	Title    string
	Summary  string  // what the site is for, for search engines; "": the page is not for them
	User     *viewer // nil: signed out, or not known
	Visitor  bool    // known to be signed out
	Sandbox  bool
	Mailbox  string // where the sandbox shows the mail that it got; "": nowhere
	Notice   *notice
	NeedsYou int    // connections to reconnect, on pages that know
	Script   bool   // the page has a notice to announce, keeps itself up to date, or asks for the time zone
	Passkeys bool   // the page has a form for passkeys, which needs its own script
	ZoneTo   string // where the script sends the browser's time zone; "": it is known
	Reload   string // the address that a browser without scripts loads next; "": none
	Path     string
	Main     pageData //  the data of the page's own templates; render fills it in
}

func (v view) common() view { return v }

// pageData is the data of a page: a struct that embeds view.
type pageData interface{ common() view }

type viewer struct{ Name string }

type providerView struct{ Key, Name, Button string }

// Web is what browsers are sent. Servers can share it.
type Web struct {
	pages   map[string]pageSet
	assets  map[string]asset
	buffers sync.Pool // *bytes.Buffer: growing a new one for each page takes more memory than all else
}

// ReadWeb reads templates/{layout,partials,pages} and static/. It fails when a page does not parse.
func ReadWeb(files fs.FS) (*Web, error) {
	assets, err := readAssets(files)
	if err != nil {
		return nil, err
	}
	pages, err := parsePages(files, assets)
	return &Web{pages: pages, assets: assets, buffers: sync.Pool{New: func() any { return new(bytes.Buffer) }}}, err
}

// parsePages parses the pages, with functions for times and for assets: their addresses, icons, and providers' marks.
func parsePages(files fs.FS, assets map[string]asset) (map[string]pageSet, error) {
	funcs := template.FuncMap{"date": date, "day": day, "moment": moment, "ago": ago,
		"asset": func(name string) (string, error) { return assetURL(assets, name) },
		"icon":  newSprite(assets["icons.svg"]).icon,
		"glyph": newSprite(assets["marks.svg"]).glyph,
	}
	shared, err := template.New("").Funcs(funcs).ParseFS(files, "templates/layout/*.html", "templates/partials/*.html")
	if err == nil {
		err = fold(shared, funcs)
	}
	if err != nil {
		return nil, fmt.Errorf("routes: parse the layout and the partials: %w", err)
	}
	names, err := fs.Glob(files, "templates/pages/*.html")
	if err != nil {
		return nil, fmt.Errorf("routes: list pages: %w", err)
	}
	pages := map[string]pageSet{}
	for _, name := range names {
		set, err := shared.Clone()
		if err == nil {
			set, err = set.ParseFS(files, name)
		}
		if err == nil {
			err = fold(set, funcs)
		}
		if err != nil {
			return nil, fmt.Errorf("routes: parse %s: %w", name, err)
		}
		pages[strings.TrimSuffix(path.Base(name), ".html")] = set
	}
	for _, name := range []string{"landing", "signup", "login", "home", "connections", "account", "error"} {
		if pages[name] == nil || pages[name].Lookup("layout") == nil || pages[name].Lookup("main") == nil {
			return nil, fmt.Errorf("routes: page %q is missing or incomplete", name)
		}
	}
	return pages, nil
}

// view fills in what every page has. It takes the notice for this page, so call it once a request.
func (s *server) view(r *http.Request, title string) view {
	v := s.bareView(title)
	v.Path = r.URL.Path
	if !session.Loaded(r.Context()) {
		return v
	}
	current, ok := session.Current(r.Context())
	if v.Visitor = !ok; ok {
		v.User = &viewer{Name: current.Name}
		if current.TimeZone == "" {
			v.ZoneTo = zonePath
		}
	}
	v.Notice = s.takeNotice(r)
	v.Script = v.Notice != nil || v.ZoneTo != ""
	return v
}

// bareView is a view without a user.
func (s *server) bareView(title string) view {
	v := view{Title: title, Sandbox: s.Sandbox != nil}
	if v.Sandbox && s.Sandbox.TakesMail {
		v.Mailbox = s.PublicURL.Scheme + "://" + s.Sandbox.Host + "/sandbox/mail"
	}
	return v
}

// formTitle is the title of a page with a form: screen readers say first that something is
// wrong with it.
func formTitle(title string, problems map[string]string) string {
	if len(problems) > 0 {
		return "Error: " + title
	}
	return title
}

func (s *server) providerViews() []providerView {
	views := make([]providerView, len(s.Providers))
	for i, p := range s.Providers {
		views[i] = providerView{Key: p.Key, Name: p.Name, Button: p.Button}
	}
	return views
}

// namesOf is the names of providers, as in "A, B and C".
func namesOf(providers []*oauth.Provider) string {
	names := make([]string, len(providers))
	for i, p := range providers {
		names[i] = p.Name
	}
	return enumerated(names, "and")
}

// summaryOf says what a site with these providers is for.
func summaryOf(providers oauth.Registry) string {
	data := strings.TrimSpace(namesOf(providers) + " data")
	return "Cairn brings your " + data + " together in one place of your own, and keeps you signed in."
}

// render writes a page from a buffer, so that an error page can still be sent if the template fails.
func (s *server) render(w http.ResponseWriter, status int, name string, data pageData) error {
	return s.renderPart(w, status, name, "layout", inLayout(data))
}

func (s *server) renderPart(w http.ResponseWriter, status int, name, part string, data any) error {
	body := s.Web.buffers.Get().(*bytes.Buffer)
	defer s.Web.buffers.Put(body)
	body.Reset()
	if err := s.Web.pages[name].ExecuteTemplate(body, part, data); err != nil {
		return fmt.Errorf("routes: render %s: %w", name, err)
	}
	writePage(w, status, body.Bytes())
	return nil
}

// inLayout is a page's data for the layout. Templates find the fields of a struct itself many times faster than those
// of a struct that it embeds.
func inLayout(data pageData) *view {
	v := data.common()
	v.Main = data
	return &v
}

func writePage(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // an error means that the browser has gone
}

// redirect answers a form: the browser goes on to path, with a GET.
func redirect(w http.ResponseWriter, r *http.Request, path string) {
	http.Redirect(w, r, path, http.StatusSeeOther)
}

func (s *server) provider(key string) (*oauth.Provider, error) {
	if p := s.Providers.Get(key); p != nil {
		return p, nil
	}
	return nil, errNoPage
}
