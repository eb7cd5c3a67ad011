package db

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
)

// SQLSTATEs that Cairn acts on (PostgreSQL manual, appendix A). PgBouncer has protocolViolation for everything.
const (
	protocolViolation     = "08P01"
	readOnlyTransaction   = "25006"
	invalidCatalogName    = "3D000"
	invalidSchemaName     = "3F000"
	insufficientPrivilege = "42501"
	undefinedColumn       = "42703"
	undefinedTable        = "42P01"
	lockNotAvailable      = "55P03"
	adminShutdown         = "57P01"
	crashShutdown         = "57P02"
	cannotConnectNow      = "57P03"
)

// stateOf returns the SQLSTATE of an error of PostgreSQL's, "" for any other.
func stateOf(err error) string {
	if refusal, ok := errors.AsType[*pgconn.PgError](err); ok {
		return refusal.Code
	}
	return ""
}

// classOf returns the class of a SQLSTATE, its first two characters.
func classOf(state string) string { return state[:min(2, len(state))] }

// Unavailable reports whether the database is the cause of a failed statement: it is unreachable, overloaded or
// read-only. Any other error is a mistake in the statement or its values.
func Unavailable(err error) bool {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if state := stateOf(err); state != "" {
		// Connection exception, insufficient resources, operator intervention.
		return slices.Contains([]string{"08", "53", "57"}, classOf(state)) ||
			state == readOnlyTransaction || state == lockNotAvailable
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	for _, cut := range []error{context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, cut) {
			return true
		}
	}
	return pgconn.Timeout(err) || pgconn.SafeToRetry(err)
}

// Transient reports whether a statement that failed may succeed on another try: the database was not available, or
// another transaction was in the way.
func Transient(err error) bool { return Unavailable(err) || classOf(stateOf(err)) == "40" }

// Forbidden reports whether a statement names a table or a column that does not exist, or that we may not use.
func Forbidden(err error) bool {
	forbidden := []string{undefinedTable, undefinedColumn, invalidSchemaName, insufficientPrivilege}
	return slices.Contains(forbidden, stateOf(err))
}

// ConnectionBroke reports whether the connection was cut during a statement, by the network or by a PostgreSQL that
// shuts down. A read may then be repeated on another connection. A statement that PostgreSQL refused, and a server that
// can't be reached at all, are something else.
func ConnectionBroke(err error) bool {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return false
	}
	state := stateOf(err)
	return state == "" || state == adminShutdown || state == crashShutdown
}

// Violates reports whether a statement failed on the constraint of that name.
func Violates(err error, constraint string) bool {
	refusal, ok := errors.AsType[*pgconn.PgError](err)
	return ok && refusal.ConstraintName == constraint
}

// ReadOnly reports whether a statement failed because it writes, and the server is a standby or the database read-only.
func ReadOnly(err error) bool { return stateOf(err) == readOnlyTransaction }

// NoDatabase reports whether a database that was named does not exist.
func NoDatabase(err error) bool { return stateOf(err) == invalidCatalogName }

// noSchema reports whether a statement names a schema or table that does not exist.
func noSchema(err error) bool {
	state := stateOf(err)
	return state == undefinedTable || state == invalidSchemaName
}
