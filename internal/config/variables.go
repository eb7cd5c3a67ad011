package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// variable is a variable that Cairn reads.
type variable struct {
	name   string
	also   string // an older name that means the same; "": none
	secret bool   // it may be in a file
}

// names returns the names under which the value is looked up, in this order.
func (v variable) names() []string {
	if v.also == "" {
		return []string{v.name}
	}
	return []string{v.name, v.also}
}

// fileSuffix is appended to the name of a secret's variable to name the variable with the path of its file.
const fileSuffix = "_FILE"

// credentialsDirectory is where systemd puts the credentials of a unit.
const credentialsDirectory = "CREDENTIALS_DIRECTORY"

// variables lists everything that Cairn reads from the environment. docs/configuration.md says what each variable
// means. .env.example and docker-compose.yml list all of them, too.
func variables(providers []Provider) []variable {
	list := []variable{
		{name: "APP_ENV", also: "NODE_ENV"},
		{name: "PORT"},
		{name: "LISTEN_ADDR"},
		{name: "PUBLIC_URL", also: "API_URL"},
		{name: "TRUSTED_PROXIES"},
		{name: "DATA_DIR"},
		{name: "DATABASE_URL", secret: true},
		{name: "DIRECT_DATABASE_URL", secret: true},
		{name: "SESSION_SECRET", secret: true},
		{name: "ENCRYPTION_KEY", secret: true},
		{name: "SESSION_LIFETIME"},
		{name: "SESSION_MAX_LIFETIME"},
		{name: "SHUTDOWN_DELAY"},
		{name: "SHUTDOWN_TIMEOUT"},
		{name: "METRICS_ADDR"},
		{name: "LOG_LEVEL"},
		{name: "SMTP_URL", secret: true},
		{name: "MAIL_FROM", also: "NOTICE_FROM"},
		{name: "OPERATOR_CONTACT"},
		{name: "SIGNUP"},
		{name: "NODE_IMPORT"},
		{name: "NODE_ENCRYPTION_KEY", secret: true},
		{name: "NODE_LINKS_UNTIL"},
		{name: "NODE_SESSIONS_UNTIL"},
		{name: "NODE_SESSION_SECRET", secret: true},
		{name: "NODE_SESSION_COOKIE"},
		{name: "NODE_SESSION_DOMAIN"},
		{name: "NODE_SESSION_TABLE"},
		{name: "NODE_SESSION_USER"},
		{name: "NODE_WINDOW"},
		{name: "FRONTEND_URL"},
	}
	for _, p := range providers {
		list = append(list, p.variables()...)
	}
	return list
}

// reader reads variables and collects the problems, so that an operator can fix all at once. No message contains a
// value that could be secret.
type reader struct {
	getenv    func(string) string
	providers []Provider
	files     map[string]string // secrets that are in files, by the names of their variables
	problems  []error
}

func newReader(getenv func(string) string, providers []Provider) *reader {
	c := &reader{getenv: getenv, providers: providers}
	c.files = c.secretFiles()
	return c
}

func (c *reader) problem(format string, args ...any) {
	c.problems = append(c.problems, fmt.Errorf(format, args...))
}

// first returns the value of a variable and the name under which it is set. If it is not set, it returns "" and name.
func (c *reader) first(name string) (value, setAs string) {
	list := variables(c.providers)
	i := slices.IndexFunc(list, func(v variable) bool { return v.name == name })
	if i < 0 {
		panic("config: " + name + " is missing in the list of variables")
	}
	for _, name := range list[i].names() {
		if value := strings.TrimSpace(c.getenv(name)); value != "" {
			return value, name
		}
		if value := c.files[name]; value != "" {
			return value, name
		}
	}
	return "", name
}

func (c *reader) value(name string) string {
	value, _ := c.first(name)
	return value
}

// secretFiles reads secrets from the files in NAME_FILE variables and from systemd's credentials. It reports a secret
// that is set twice, because one value would be ignored.
func (c *reader) secretFiles() map[string]string {
	values := map[string]string{}
	for _, v := range variables(c.providers) {
		if !v.secret {
			continue
		}
		for _, name := range v.names() {
			places := c.secretPlaces(name)
			if len(places) > 1 {
				c.problem("%s is set more than once: %s. Keep one of them", name, strings.Join(labels(places), " and "))
			} else if len(places) == 1 && places[0].file != "" {
				values[name] = c.readSecret(places[0])
			}
		}
	}
	return values
}

// place says where a secret is: in the environment or in a file.
type place struct {
	label string // for messages
	file  string // "": the environment
}

func labels(places []place) (labels []string) {
	for _, p := range places {
		labels = append(labels, p.label)
	}
	return labels
}

func (c *reader) secretPlaces(name string) (places []place) {
	if strings.TrimSpace(c.getenv(name)) != "" {
		places = append(places, place{label: name})
	}
	if file := c.getenv(name + fileSuffix); file != "" {
		places = append(places, place{name + fileSuffix, file})
	}
	if dir := c.getenv(credentialsDirectory); dir != "" {
		for _, base := range []string{name, strings.ToLower(name)} {
			if file := filepath.Join(dir, base); exists(file) {
				places = append(places, place{"the credential " + base, file})
			}
		}
	}
	return places
}

func exists(file string) bool {
	_, err := os.Lstat(file)
	return !errors.Is(err, fs.ErrNotExist)
}

// readSecret reads a secret from its file, without the newline that editors and echo add. No message contains the path,
// because that may be the secret itself, set under the wrong name.
func (c *reader) readSecret(p place) string {
	text, err := os.ReadFile(p.file)
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathErr.Err
	}
	value := strings.TrimSpace(string(text))
	switch {
	case err != nil:
		c.problem("%s names a file that can't be read: %v", p.label, err)
	case value == "":
		c.problem("%s names an empty file", p.label)
	}
	return value
}

// IsSet reports whether a variable has a value, valid or not.
func IsSet(getenv func(string) string, name string) bool {
	return newReader(getenv, Providers()).value(name) != ""
}
