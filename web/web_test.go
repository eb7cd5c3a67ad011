package web_test

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"cairn/web"
)

// A page that names a missing icon would fail when it is requested.
func TestIconsAreThere(t *testing.T) {
	t.Parallel()
	sprite, err := fs.ReadFile(web.Files, "static/icons.svg")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`{{-? ?icon "([a-z0-9-]+)"`)
	used := 0
	err = fs.WalkDir(web.Files, "templates", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		page, err := fs.ReadFile(web.Files, path)
		for _, match := range named.FindAllSubmatch(page, -1) {
			used++
			if !strings.Contains(string(sprite), `<symbol id="`+string(match[1])+`"`) {
				t.Errorf("%s: there is no icon %q", path, match[1])
			}
		}
		return err
	})
	if err != nil || used < 20 {
		t.Errorf("%d icons are used (error %v)", used, err)
	}
}

// The stylesheet works in browsers without light-dark(): each token of the dark scheme has its light one.
func TestDarkTokensHaveLightOnes(t *testing.T) {
	t.Parallel()
	sheet, err := fs.ReadFile(web.Files, "static/cairn.css")
	if err != nil {
		t.Fatal(err)
	}
	light, rest, found := strings.Cut(string(sheet), "@media screen and (prefers-color-scheme: dark)")
	dark, _, ended := strings.Cut(rest, "\n}\n")
	tokens := regexp.MustCompile(`--[a-z0-9-]+:`).FindAllString(dark, -1)
	if !found || !ended || len(tokens) < 20 {
		t.Fatalf("the dark scheme has %d tokens", len(tokens))
	}
	for _, token := range tokens {
		if !strings.Contains(light, token) {
			t.Errorf("%s is only in the dark scheme", token)
		}
	}
	if strings.Contains(string(sheet), "light-dark(") {
		t.Error("light-dark() is used")
	}
}

// The tests in Chromium check only the colours of dark pages.
func TestDarkIsColoursOnly(t *testing.T) {
	t.Parallel()
	sheet, err := fs.ReadFile(web.Files, "static/cairn.css")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(sheet), "(prefers-color-scheme: dark) {")
	if len(parts) != 2 {
		t.Fatalf("%d blocks for dark pages, want 1", len(parts)-1)
	}
	block, _, _ := strings.Cut(parts[1], "}")
	_, declarations, root := strings.Cut(block, ":root {")
	for declaration := range strings.SplitSeq(declarations, ";") {
		if d := strings.TrimSpace(declaration); d != "" && !strings.HasPrefix(d, "--") {
			t.Errorf("dark pages set %q, which is no variable", d)
		}
	}
	if after := strings.TrimSpace(parts[1][len(block)+1:]); !root || !strings.HasPrefix(after, "}") {
		t.Error("the block for dark pages has more than variables of :root")
	}
}
