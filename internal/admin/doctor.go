package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db"
	"cairn/internal/config"
	"cairn/internal/oauth"
)

// AboutDoctor explains Doctor.
const AboutDoctor = `
It changes nothing, and can run before the first start or while servers run. Each
line has a verdict: ok, warn (look at it; the server works) or FAIL, which makes
the exit code 1.

--json prints one JSON object a line: verdict, check, text.
`

// checks are the doctor's checks, in order. A new check is a function and a line here.
var checks = []func(context.Context, deployment) []Finding{
	checkConfiguration,
	checkVariables,
	checkDatabase,
	checkPooler,
	checkSchema,
	checkKeys,
	checkInstances,
	checkClock,
	checkPublicURL,
	checkPasskeys,
	checkProxies,
	checkMail,
	checkProviders,
	checkCallbacks,
	checkWebhooks,
	checkConnections,
	checkBudgets,
	checkOthers,
	checkDates,
}

// Finding is a line of the doctor's output. It contains no secret.
type Finding struct {
	Verdict Verdict `json:"verdict"`
	Check   string  `json:"check"` // at most 19 characters
	Text    string  `json:"text"`  // what was found, and what to do if it is not well
}

func (f Finding) write(out io.Writer, asJSON bool) error {
	if asJSON {
		return writeJSON(out, f)
	}
	_, err := fmt.Fprintf(out, "%-4s  %-19s  %s\n", f.Verdict, f.Check, f.Text)
	return err
}

// Verdict says how bad a finding is.
type Verdict string

// Verdicts.
const (
	OK      Verdict = "ok"
	Warning Verdict = "warn" // look at it; the server works
	Failure Verdict = "FAIL"
)

// Check is a check of another package. It is asked if the database has the schema of this program, and c is the
// configuration as far as it could be read. It has the time that the doctor gives to each thing it asks.
type Check func(ctx context.Context, c config.Config, pool *pgxpool.Pool) []Finding

// deployment is what the checks look at. What could not be read or opened is nil, and its check says why.
type deployment struct {
	limits      Limits
	getenv      func(string) string
	names       []string      // of all variables that are set, those of other programs too
	config      config.Config // as far as it could be read
	configErr   error
	pool        *pgxpool.Pool
	database    db.Report
	databaseErr error
	directErr   error          // from DIRECT_DATABASE_URL
	known       oauth.Registry // all providers
	providers   oauth.Registry // those with keys
	callbackErr error
	today       time.Time
	others      []Check
}

// Doctor checks everything that a server needs, changes nothing, and explains its findings. It returns an error if a
// check fails.
func Doctor(ctx context.Context, e Env, out io.Writer) error {
	asJSON, err := ParseListing(e.Args)
	if err != nil {
		return err
	}
	found, end := examine(ctx, e)
	defer end()
	failed := 0
	for _, check := range checks {
		for _, f := range check(ctx, found) {
			if f.Verdict == Failure {
				failed++
			}
			if err := f.write(out, asJSON); err != nil {
				return err
			}
		}
	}
	if failed > 0 {
		return fmt.Errorf("doctor: lines with %s: %d", Failure, failed)
	}
	return nil
}

// examine reads the configuration and opens the database, as far as that works.
func examine(ctx context.Context, with Env) (e deployment, end func()) {
	file, fileErr := config.ReadDotEnv(with.getenv)
	e = deployment{
		limits: with.Limits.withDefaults(),
		getenv: func(name string) string { return cmp.Or(with.getenv(name), file[name]) },
		names:  namesOf(with.Environ, file),
		today:  time.Now().UTC(),
		others: with.Checks,
	}
	e.config, e.configErr = config.Load(e.getenv)
	e.configErr = errors.Join(fileErr, e.configErr)
	e.known, e.callbackErr = e.config.Registered(e.config.Apps, e.config.Site())
	if e.callbackErr == nil {
		e.providers = e.known.Usable()
	}
	at, stop, err := existing(ctx, e.config)
	if err != nil {
		e.databaseErr = err
		return e, stop
	}
	e.inspect(ctx, at)
	return e, func() {
		if e.pool != nil {
			e.pool.Close()
		}
		stop()
	}
}

// inspect opens the database and looks at it, within the doctor's time limit.
func (e *deployment) inspect(ctx context.Context, address string) {
	ctx, cancel := context.WithTimeout(ctx, e.limits.Doctor)
	defer cancel()
	silent := slog.New(slog.DiscardHandler)
	if e.pool, e.databaseErr = db.Open(ctx, address, silent); e.databaseErr != nil {
		return
	}
	e.database, e.databaseErr = db.Inspect(ctx, e.pool)
	if e.config.DirectDatabaseURL == "" || e.databaseErr != nil {
		return
	}
	direct, err := openDirect(ctx, e.config, e.pool, silent)
	if e.directErr = err; err == nil {
		direct.Close()
	}
}

// checkConfiguration lists every problem that would keep a server from starting.
func checkConfiguration(_ context.Context, e deployment) (found []Finding) {
	for _, problem := range each(e.configErr) {
		found = append(found, Finding{Failure, "configuration", problem.Error()})
	}
	switch {
	case len(found) > 0:
	case e.config.Production:
		found = append(found, Finding{OK, "configuration", "complete, for production"})
	case e.config.Public():
		found = append(found, Finding{Warning, "configuration", "complete, but APP_ENV is not production " +
			"although PUBLIC_URL is public: the requirements of production were not checked"})
	default:
		found = append(found, Finding{OK, "configuration", "complete, for development (APP_ENV is not production)"})
	}
	return found
}

// checkOthers asks the checks of other packages.
func checkOthers(ctx context.Context, e deployment) (found []Finding) {
	if !e.hasSchema() || len(e.database.Pending) > 0 {
		return nil
	}
	for _, check := range e.others {
		ctx, cancel := context.WithTimeout(ctx, e.limits.Doctor)
		found = append(found, check(ctx, e.config, e.pool)...)
		cancel()
	}
	return found
}

// each returns the errors that errors.Join put together.
func each(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		if err == nil {
			return nil
		}
		return []error{err}
	}
	var all []error
	for _, err := range joined.Unwrap() {
		all = append(all, each(err)...)
	}
	return all
}
