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

	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/session"
)

// pageSet is one page with the layout and the partials.
type pageSet = *template.Template

// view is what every page has.
type view struct {
	Title    string
	User     *viewer // nil: signed out, or not known
	Visitor  bool    // known to be signed out
	Sandbox  bool
	Notice   *notice
	NeedsYou int    // connections that only their owner can mend, on pages that know
	Script   bool   // the page has something to announce or to bring up to date or to ask the browser
	ZoneTo   string // where the script tells the browser's time zone; "": it is known
	Reload   string // where a browser without scripts looks again soon; "": nowhere
	Path     string
}

type viewer struct{ Name string }

type providerView struct{ Key, Name string }

// parsePages parses the pages with what they call to name assets: their addresses, icons, and providers' marks.
func parsePages(files fs.FS, assets map[string]asset) (map[string]pageSet, error) {
	funcs := template.FuncMap{"date": date, "day": day, "moment": moment, "ago": ago, "revocable": connection.Revocable,
		"asset": func(name string) (string, error) { return assetURL(assets, name) },
		"icon":  newSprite(assets["icons.svg"]).icon,
		"glyph": newSprite(assets["marks.svg"]).glyph,
	}
	names, err := fs.Glob(files, "templates/pages/*.html")
	if err != nil {
		return nil, fmt.Errorf("routes: list pages: %w", err)
	}
	pages := map[string]pageSet{}
	for _, name := range names {
		set := template.New("").Funcs(funcs)
		if set, err = set.ParseFS(files, "templates/layout/*.html", "templates/partials/*.html", name); err != nil {
			return nil, fmt.Errorf("routes: parse pages: %w", err)
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

// view fills in what every page has. It takes the notice that waits for the person, so it is called once a request.
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

// bareView is a view of nobody in particular.
func (s *server) bareView(title string) view {
	return view{Title: title, Sandbox: s.Sandbox != nil}
}

// formTitle is the title of a page with a form: people who don't see the page hear first that
// something is wrong with it.
func formTitle(title string, problems map[string]string) string {
	if len(problems) > 0 {
		return "Error: " + title
	}
	return title
}

func (s *server) providerViews() []providerView {
	views := make([]providerView, len(s.Providers))
	for i, p := range s.Providers {
		views[i] = providerView{Key: p.Key, Name: p.Name}
	}
	return views
}

// render writes a page from a buffer, so that a template that fails leaves room for the error page.
func (s *server) render(w http.ResponseWriter, r *http.Request, status int, name string, data any) error {
	return s.renderPart(w, status, name, "layout", data)
}

func (s *server) renderPart(w http.ResponseWriter, status int, name, part string, data any) error {
	var body bytes.Buffer
	if err := s.pages[name].ExecuteTemplate(&body, part, data); err != nil {
		return fmt.Errorf("routes: render %s: %w", name, err)
	}
	writePage(w, status, body.Bytes())
	return nil
}

func writePage(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the browser has gone: nobody is left to tell
}

// see answers a form: look there now, with a GET.
func see(w http.ResponseWriter, r *http.Request, path string) {
	http.Redirect(w, r, path, http.StatusSeeOther)
}

func (s *server) provider(key string) (*oauth.Provider, error) {
	if p := s.Providers.Get(key); p != nil {
		return p, nil
	}
	return nil, errNoPage
}
