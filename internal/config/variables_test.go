package config

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cairn/internal/testkit"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.yaml.in/yaml/v3"
)

// readFile reads a file of the repository.
func readFile(t *testing.T, name ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{"..", ".."}, name...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func names(list []variable) (names []string) {
	for _, v := range list {
		names = append(names, v.name)
	}
	slices.Sort(names)
	return names
}

// wantSame reports what only one of the lists has.
func wantSame(t *testing.T, file string, got, want []string) {
	t.Helper()
	for _, name := range want {
		if !slices.Contains(got, name) {
			t.Errorf("%s lacks %s", file, name)
		}
	}
	for _, name := range got {
		if !slices.Contains(want, name) {
			t.Errorf("%s has %s, which the program does not read", file, name)
		}
	}
}

func TestEnvExampleHasAllVariables(t *testing.T) {
	t.Parallel()
	var got []string
	pattern := regexp.MustCompile(`(?m)^#([A-Z_]+)=`)
	for _, match := range pattern.FindAllStringSubmatch(readFile(t, ".env.example"), -1) {
		got = append(got, match[1])
	}
	wantSame(t, ".env.example", got, names(variables(Providers())))
}

// The document's tables have one row for a variable that each provider has, with P for the provider. Older
// names are in brackets after the new one, or in its meaning.
func TestConfigurationDocHasAllVariables(t *testing.T) {
	t.Parallel()
	const doc = "docs/configuration.md"
	_, table, _ := strings.Cut(readFile(t, doc), "\n## Variables\n")
	table, _, _ = strings.Cut(table, "\n## ")
	var got, want []string
	for _, row := range regexp.MustCompile(`(?m)^\| (`+"`"+`.+?)(?: \(.+?\))? \|`).FindAllStringSubmatch(table, -1) {
		for name := range strings.SplitSeq(row[1], ", ") {
			got = append(got, strings.Trim(name, "`"))
		}
	}
	ofProvider := func(name string) string {
		for _, p := range Providers() {
			if rest, ok := strings.CutPrefix(name, p.Prefix+"_"); ok && rest != "PUSH_SECRET" {
				return "P_" + rest
			}
		}
		return name
	}
	for _, v := range variables(Providers()) {
		want = append(want, ofProvider(v.name))
		if v.also != "" && !strings.Contains(table, v.also) && !strings.Contains(table, ofProvider(v.also)) {
			t.Errorf("%s lacks %s", doc, v.also)
		}
	}
	wantSame(t, doc, got, want)
}

// composeService is a service in docker-compose.yml, as far as tests check it.
type composeService struct {
	Command     []string
	Environment map[string]string
	Networks    []string
	NetworkMode string `yaml:"network_mode"`
	Ports       []string
	User        string
	Volumes     []string
	ReadOnly    bool     `yaml:"read_only"`
	Privileged  bool     `yaml:"privileged"`
	CapDrop     []string `yaml:"cap_drop"`
	CapAdd      []string `yaml:"cap_add"`
	SecurityOpt []string `yaml:"security_opt"`
	MemLimit    string   `yaml:"mem_limit"`
	PidsLimit   int      `yaml:"pids_limit"`
}

func readCompose(t *testing.T) map[string]composeService {
	t.Helper()
	var compose struct{ Services map[string]composeService }
	if err := yaml.Unmarshal([]byte(readFile(t, "docker-compose.yml")), &compose); err != nil {
		t.Fatal(err)
	}
	return compose.Services
}

// Every variable that an operator sets reaches the container. One that is not set is empty there.
func TestComposePassesAllVariables(t *testing.T) {
	t.Parallel()
	environment := readCompose(t)["cairn"].Environment
	inImage := []string{"PORT", "DATA_DIR"}
	var got []string
	defaults := map[string]string{}
	for name, value := range environment {
		got = append(got, name)
		standard, ok := strings.CutPrefix(value, "${"+name+":-")
		if !ok && name != "LISTEN_ADDR" {
			t.Errorf("%s is always %q", name, value)
		}
		if standard = strings.TrimSuffix(standard, "}"); standard != "" {
			defaults[name] = standard
		}
	}
	wantSame(t, "docker-compose.yml", append(got, inImage...), names(variables(Providers())))
	if _, err := load(t, defaults); err != nil {
		t.Errorf("docker compose up and nothing else: %v", err)
	}
	c, err := pgxpool.ParseConfig(defaults["DATABASE_URL"])
	if err != nil || c.ConnConfig.Password != "" || !strings.HasPrefix(c.ConnConfig.Host, "/") {
		t.Errorf("the database is not reached through a socket: %v", err)
	}
}

func TestComposeIsHardened(t *testing.T) {
	t.Parallel()
	services := readCompose(t)
	for name, s := range services {
		if !s.ReadOnly || s.Privileged || !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 ||
			!slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) || s.MemLimit == "" || s.PidsLimit == 0 {
			t.Errorf("%s is not hardened: %+v", name, s)
		}
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s is published at %s, which other machines can reach", name, port)
			}
		}
		for variable, value := range s.Environment {
			if strings.Contains(variable, "PASSWORD") {
				t.Errorf("%s: %s has the value %q, which is public", name, variable, value)
			}
		}
	}
	if db := services["postgres"]; db.NetworkMode != "none" ||
		!slices.Contains(db.Command, "listen_addresses=") || db.User != "postgres" {
		t.Errorf("PostgreSQL needs no password, and more than Cairn can reach it: %+v", db)
	}
}

// A secret may be in a file, where other processes don't see it.
func TestSecretsFromFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for _, v := range variables(Providers()) {
		if !v.secret {
			continue
		}
		for _, name := range v.names() {
			env := map[string]string{name + "_FILE": write(name, "hunter2\n")}
			c := newReader(func(name string) string { return env[name] }, Providers())
			if value, setAs := c.first(v.name); value != "hunter2" || setAs != name || len(c.problems) > 0 {
				t.Errorf("%s_FILE: got %q as %s, %v", name, value, setAs, c.problems)
			}
		}
	}
	c, err := load(t, map[string]string{
		"SESSION_SECRET_FILE": write("s", testkit.Secret+"\r\n"),
		"ENCRYPTION_KEY_FILE": write("k", testkit.Key1+","+testkit.Key2)})
	if err != nil || c.SessionSecret != testkit.Secret || len(c.EncryptionKeys) != 2 {
		t.Errorf("got %+v, %v", c, err)
	}
}

// systemd's credentials have the names of the variables, in upper or lower case.
func TestSecretsFromCredentials(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"SESSION_SECRET": testkit.Secret, "encryption_key": testkit.Key1 + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	c, err := load(t, map[string]string{"CREDENTIALS_DIRECTORY": dir})
	if err != nil || c.SessionSecret != testkit.Secret || len(c.EncryptionKeys) != 1 {
		t.Errorf("got %+v, %v", c, err)
	}
	_, err = load(t, map[string]string{"CREDENTIALS_DIRECTORY": dir, "ENCRYPTION_KEY": testkit.Key2})
	const twice = "ENCRYPTION_KEY is set more than once: ENCRYPTION_KEY and the credential encryption_key"
	if err == nil || !strings.Contains(err.Error(), twice) {
		t.Errorf("got %v", err)
	}
}

func TestBadSecretFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty, good := filepath.Join(dir, "empty"), filepath.Join(dir, "good")
	for file, text := range map[string]string{empty: "\n", good: testkit.Key1} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		env  map[string]string
		want string
	}{
		{"both", map[string]string{"ENCRYPTION_KEY": testkit.Key2, "ENCRYPTION_KEY_FILE": good},
			"ENCRYPTION_KEY is set more than once: ENCRYPTION_KEY and ENCRYPTION_KEY_FILE"},
		{"missing", map[string]string{"DATABASE_URL_FILE": dir + "/hunter2"},
			"DATABASE_URL_FILE names a file that can't be read: no such file"},
		{"the secret itself", map[string]string{"DATABASE_URL_FILE": "postgres://ada:hunter2@db/cairn"},
			"DATABASE_URL_FILE names a file that can't be read"},
		{"a directory", map[string]string{"STRAVA_CLIENT_SECRET_FILE": dir},
			"STRAVA_CLIENT_SECRET_FILE names a file that can't be read: is a directory"},
		{"empty", map[string]string{"GARMIN_CONSUMER_SECRET_FILE": empty},
			"GARMIN_CONSUMER_SECRET_FILE names an empty file"},
	} {
		_, err := load(t, tt.env)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") ||
			strings.Contains(err.Error(), testkit.Key1) || strings.Contains(err.Error(), testkit.Key2)) {
			t.Errorf("%s: the message contains a secret: %v", tt.name, err)
		}
	}
}
