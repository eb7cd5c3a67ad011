package routes_test

import (
	"fmt"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/auth"
)

const securityDoc = "../../docs/security.md"

// Every route has a line in the table of docs/security.md that says what it costs and what limits it.
func TestEveryRouteSaysWhatLimitsIt(t *testing.T) {
	t.Parallel()
	var routes []string
	for _, r := range routesOf(t, fronted(t)) {
		if r.method != http.MethodHead { // has the line of its GET
			routes = append(routes, r.method+" "+r.pattern)
		}
	}
	var written []string
	limits := namedLimits()
	for _, row := range tableAfter(t, "## Routes and their limits") {
		written = append(written, quoted(row[0])...)
		for _, cell := range row[2:] {
			if len(quoted(cell)) == 0 && !strings.HasPrefix(cell, "none: ") {
				t.Errorf("%s: the line for %s names no limit: name one in backticks, or say \"none: \" and why",
					securityDoc, row[0])
			}
			for _, name := range quoted(cell) {
				if _, known := limits[name]; !known {
					t.Errorf("%s: the line for %s names a limit %q, which auth.DefaultLimits does not have",
						securityDoc, row[0], name)
				}
			}
		}
	}
	for _, r := range routes {
		if !slices.Contains(written, r) {
			t.Errorf("%s is not in the table of %s: "+
				"add a line that says what it costs and what limits it per person and per network", r, securityDoc)
		}
	}
	for _, r := range written {
		if !slices.Contains(routes, r) {
			t.Errorf("%s has a line for %s, which the router does not know: remove or fix it", securityDoc, r)
		}
	}
}

// The numbers in docs/security.md are those of the program.
func TestLimitsAreAsWritten(t *testing.T) {
	t.Parallel()
	limits := namedLimits()
	for _, row := range tableAfter(t, "## The limits") {
		name := strings.Trim(row[0], "`")
		limit, known := limits[name]
		if want := fmt.Sprintf("%d in %s", limit.Max, inWords(limit.Window)); !known || row[1]+" in "+row[2] != want {
			t.Errorf("%s: %s is %s in %s, but auth.DefaultLimits has %s", securityDoc, name, row[1], row[2], want)
		}
		delete(limits, name)
	}
	for name := range limits {
		t.Errorf("%s does not describe the limit %q: add a line below \"The limits\"", securityDoc, name)
	}
}

func inWords(d time.Duration) string {
	for _, unit := range []struct {
		d    time.Duration
		name string
	}{{time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		switch n := int(d / unit.d); {
		case n == 1:
			return "1 " + unit.name
		case n > 1:
			return fmt.Sprintf("%d %ss", n, unit.name)
		}
	}
	return d.String()
}

// namedLimits are all limits by their names.
func namedLimits() map[string]auth.Limit {
	all := reflect.ValueOf(auth.DefaultLimits())
	named := map[string]auth.Limit{}
	for _, field := range all.Fields() {
		limit := field.Interface().(auth.Limit)
		named[limit.Name] = limit
	}
	return named
}

// tableAfter returns the cells of the first table after a heading, without its head.
func tableAfter(t *testing.T, heading string) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile(securityDoc)
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), heading+"\n")
	if !found {
		t.Fatalf("%s has no heading %q", securityDoc, heading)
	}
	for line := range strings.Lines(section) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			if len(rows) > 0 {
				break
			}
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	if len(rows) < 3 {
		t.Fatalf("%s: there is no table after %q", securityDoc, heading)
	}
	return rows[2:]
}

var backticks = regexp.MustCompile("`([^`]+)`")

func quoted(cell string) (words []string) {
	for _, match := range backticks.FindAllStringSubmatch(cell, -1) {
		words = append(words, match[1])
	}
	return words
}
