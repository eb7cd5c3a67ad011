package metrics

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cairn/db/dbtest"
	"cairn/internal/auth"
	"cairn/internal/session"
)

const deploy = "../../deploy"

func readDeploy(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deploy, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// promtool runs Prometheus' own checker.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	program, err := exec.LookPath("promtool")
	if err != nil {
		if program, err = filepath.Abs("../../bin/promtool"); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = deploy
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("promtool %v: %v (make promtool installs it)\n%s", args, err, out)
	}
}

func TestAlertsFire(t *testing.T) {
	t.Parallel()
	promtool(t, "check", "rules", "alerts.yml")
	promtool(t, "test", "rules", "alerts_test.yml")
	cases, docs := readDeploy(t, "alerts_test.yml"), readDeploy(t, "../docs/operations.md")
	alerts := regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(readDeploy(t, "alerts.yml"), -1)
	if len(alerts) < 10 {
		t.Fatalf("found %v", alerts)
	}
	for _, alert := range alerts {
		for _, does := range []string{" fires\n", " keeps still\n"} {
			if !strings.Contains(cases, "name: "+alert[1]+does) {
				t.Errorf("no case in alerts_test.yml says that %s%s", alert[1], does)
			}
		}
		if !strings.Contains(docs, "| `"+alert[1]+"` |") {
			t.Errorf("docs/operations.md does not explain %s", alert[1])
		}
	}
}

// dashboardQueries returns the queries of all panels, with values for Grafana's variables.
func dashboardQueries(t *testing.T) (queries []string) {
	t.Helper()
	var dashboard struct {
		UID, Title string
		Panels     []struct {
			ID      int
			Type    string
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(readDeploy(t, "dashboard.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	fill := strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*")
	for _, panel := range dashboard.Panels {
		unplaced := panel.GridPos.W == 0 || panel.GridPos.X+panel.GridPos.W > 24
		if ids[panel.ID] || panel.Title == "" || unplaced || panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("panel %d (%s) has no id of its own, no title, no place or no query", panel.ID, panel.Title)
		}
		ids[panel.ID] = true
		for _, target := range panel.Targets {
			queries = append(queries, fill.Replace(target.Expr))
		}
	}
	return queries
}

// The dashboard's queries are valid PromQL: promtool reads them as rules.
func TestDashboardQueriesParse(t *testing.T) {
	t.Parallel()
	type rule struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	var rules []rule
	for _, query := range dashboardQueries(t) {
		rules = append(rules, rule{"query:" + strings.Repeat("x", len(rules)+1), query})
	}
	if len(rules) < 20 {
		t.Fatalf("%d queries", len(rules))
	}
	group := map[string]any{"name": "dashboard", "rules": rules}
	text, err := json.Marshal(map[string]any{"groups": []any{group}}) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", file)
}

// The metrics and labels in alerts and dashboard exist, and every metric is documented.
func TestMetricsOfAlertsAndDashboardExist(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	m := New(pool, time.Minute)
	m.Build("", "", "")
	m.Ready(nil)
	m.Hashes(func() auth.HashLoad { return auth.HashLoad{} })
	m.Count(session.New(session.Options{Pool: pool}), pool)
	descs := make(chan *prometheus.Desc)
	go func() { defer close(descs); m.registry.Describe(descs) }()
	labels := map[string][]string{} // by metric
	described := regexp.MustCompile(`fqName: "(\w+)".*constLabels: \{(.*)\}, variableLabels: \{(.*)\}`)
	for desc := range descs {
		found := described.FindStringSubmatch(desc.String())
		if found == nil {
			t.Fatalf("can't read %s", desc)
		}
		names := regexp.MustCompile(`="[^"]*"`).ReplaceAllString(found[2], "") + " " + found[3]
		labels[found[1]] = append(labels[found[1]], regexp.MustCompile(`\w+`).FindAllString(names, -1)...)
		labels[found[1]] = append(labels[found[1]], "instance", "job", "le")
	}
	docs := readDeploy(t, "../docs/operations.md")
	for name := range labels {
		ours := strings.HasPrefix(name, "cairn_") && !strings.HasPrefix(name, "cairn_pool_")
		if ours && !strings.Contains(docs, "`"+name+"`") {
			t.Errorf("docs/operations.md does not list %s", name)
		}
	}
	var asked []string
	exprs := regexp.MustCompile(`(?m)expr: (.*(?:\n {10,}.*)*)`)
	for _, expr := range exprs.FindAllStringSubmatch(readDeploy(t, "alerts.yml"), -1) {
		asked = append(asked, expr[1])
	}
	metric := regexp.MustCompile(`\b((?:cairn|go|process)_\w+)(?:\{([^}]*)\})?`)
	for _, query := range append(asked, dashboardQueries(t)...) {
		for _, found := range metric.FindAllStringSubmatch(query, -1) {
			name := regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(found[1], "")
			known, ok := labels[name]
			if !ok {
				t.Errorf("there is no metric %s, which this query uses: %s", found[1], query)
			}
			for _, label := range regexp.MustCompile(`(\w+)(?:=|!)`).FindAllStringSubmatch(found[2], -1) {
				if !slices.Contains(known, label[1]) {
					t.Errorf("%s has no label %s, which this query uses: %s", name, label[1], query)
				}
			}
		}
	}
}
