package db

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// failure says why there is no connection. Its text is ours, because the texts of pgx and PostgreSQL contain the user
// and more.
type failure struct {
	text      string
	permanent bool // trying again cannot help
}

func explain(err error) failure {
	if errors.Is(err, errStatementMode) || errors.Is(err, errPoolerAppeared) {
		return failure{err.Error(), true}
	}
	if refusal, ok := errors.AsType[*pgconn.PgError](err); ok {
		if refusal.Code == protocolViolation {
			return explainPooler(refusal)
		}
		return explainRefusal(refusal.Code)
	}
	if distrust := certificateError(err); distrust != nil {
		return failure{"the certificate of the database is not trusted: " + distrust.Error(), true}
	}
	if _, ok := errors.AsType[*pgconn.NotPreferredError](err); ok {
		return failure{text: "no server is what the URL's target_session_attrs wants"}
	}
	if strings.Contains(err.Error(), "server refused TLS connection") {
		return failure{"the database does not speak TLS, which the URL's sslmode requires", true}
	}
	if unknown, ok := errors.AsType[*net.DNSError](err); ok {
		return failure{text: "the host name cannot be resolved: " + unknown.Err}
	}
	if pgconn.Timeout(err) || errors.Is(err, context.DeadlineExceeded) {
		return failure{text: "no answer in time"}
	}
	if network, ok := errors.AsType[*net.OpError](err); ok {
		return failure{text: network.Err.Error()}
	}
	return failure{text: "the connection was broken off"}
}

// certificateError finds errors of sslmode verify-full, which crypto/tls checks, and of verify-ca, which pgx checks.
func certificateError(err error) error {
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return bad.Err
	}
	if bad, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return bad
	}
	if bad, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return bad
	}
	return nil
}

// explainRefusal explains the SQLSTATE with which a server refuses a connection.
func explainRefusal(code string) failure {
	says := func(text string) string { return fmt.Sprintf("%s (SQLSTATE %s)", text, code) }
	switch code {
	case cannotConnectNow:
		return failure{text: says("it is starting up or shutting down")}
	case adminShutdown, crashShutdown:
		return failure{text: says("it is shutting down")}
	case "53300":
		return failure{text: says("it has no connection left")}
	case "28P01":
		return failure{says("it refuses the user name or password"), true}
	case "28000":
		return failure{says("it does not admit this user from here, or not with this sslmode"), true}
	case invalidCatalogName:
		return failure{says("it has no database of the URL's name"), true}
	case insufficientPrivilege:
		return failure{says("the user may not connect to that database"), true}
	case "42704", "22023":
		return failure{says("it refuses a parameter of the URL"), true}
	}
	if slices.Contains([]string{"08", "53", "58"}, classOf(code)) { // connection, resources, system error
		return failure{text: says("it is in trouble")}
	}
	return failure{says("it refuses the connection"), true}
}

// explainPooler explains an error of PgBouncer's, by its text, because it has one SQLSTATE for everything.
func explainPooler(refusal *pgconn.PgError) failure {
	says := func(text string) string {
		return fmt.Sprintf("a connection pooler %s (SQLSTATE %s)", text, refusal.Code)
	}
	if parameter := refusedParameter(refusal); parameter != "" {
		return failure{says("does not allow the URL's parameter " + parameter), true}
	}
	for _, known := range []struct {
		words, text string
		permanent   bool
	}{
		{"no more connections allowed", "has no connection left", false},
		{"query_wait_timeout", "has had no connection to the database for too long", false},
		{"no such database", "has no database of the URL's name", true},
		{"no such user", "refuses the user name or password", true},
		{"password authentication failed", "refuses the user name or password", true},
		{"SASL authentication failed", "refuses the user name or password", true},
	} {
		if strings.HasPrefix(refusal.Message, known.words) {
			return failure{says(known.text), known.permanent}
		}
	}
	return failure{text: says("refuses, or cannot reach the database")}
}

// explainURL explains what is wrong with a URL without quoting it.
func explainURL(err error) string {
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Sprintf("the database URL names a file that cannot be read: %v", file)
	}
	for _, part := range []string{
		"invalid port", "connect_timeout", "sslcertmode", "sslmode", "failed to configure TLS", "target_session_attrs",
		"channel_binding", "require_auth", "pool_", "service",
	} {
		if strings.Contains(withoutQuote(err), part) {
			return "the database URL is malformed: " + strings.TrimSuffix(part, "_")
		}
	}
	return "the database URL is malformed: it should look like " +
		"postgres://user:password@host:5432/name?sslmode=verify-full, " +
		"with special characters in the user name and password percent-encoded"
}

// withoutQuote cuts the connection string out of pgx's message "cannot parse `…`: what (cause)".
func withoutQuote(err error) string {
	text := err.Error()
	return text[strings.LastIndex(text, "`")+1:]
}
