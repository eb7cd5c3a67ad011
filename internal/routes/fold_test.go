package routes

import (
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"cairn/web"
)

// Templates have no call of icon or asset left whose result is known when they are parsed.
func TestConstantCallsAreFolded(t *testing.T) {
	t.Parallel()
	site, err := ReadWeb(web.Files)
	if err != nil {
		t.Fatal(err)
	}
	constant := regexp.MustCompile(`\{\{(icon|asset) "[^}]*\}\}`)
	folded := regexp.MustCompile(`<use href="/static/icons\.svg\?v=[0-9a-f]{16}#[a-z0-9-]+"/></svg>|` +
		`href="/static/cairn\.css\?v=[0-9a-f]{16}"`)
	found := 0
	for name, set := range site.pages {
		for _, part := range set.Templates() {
			if part.Tree == nil {
				continue
			}
			text := part.Tree.Root.String()
			if call := constant.FindString(text); call != "" {
				t.Errorf("%s, %s: %s is called for each page", name, part.Name(), call)
			}
			found += len(folded.FindAllString(text, -1))
		}
	}
	if found == 0 {
		t.Error("no template has an icon or the stylesheet")
	}
}

func TestFoldRefusesWhatIsMissing(t *testing.T) {
	t.Parallel()
	for _, call := range []string{`{{icon "nothing"}}`, `{{with .}}{{asset "nothing.css"}}{{end}}`} {
		files := fstest.MapFS{
			"static/icons.svg":           {Data: []byte(`<svg><symbol id="check"/></svg>`)},
			"templates/layout/base.html": {Data: []byte(`{{define "layout"}}` + call + `{{end}}`)},
			"templates/partials/x.html":  {Data: []byte(`{{define "x"}}{{end}}`)},
		}
		if _, err := ReadWeb(files); err == nil || !strings.Contains(err.Error(), `"nothing`) {
			t.Errorf("%s: got the error %v, want one that names what is missing", call, err)
		}
	}
}
