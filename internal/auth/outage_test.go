package auth_test

import (
	"context"
	"errors"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"cairn/internal/auth"
)

// quiet are the methods that run no statement, and those that refuse the arguments below before they run one.
var quiet = map[string]bool{
	"Admits": true, "NewCodes": true, "PasskeySignal": true, "Reconcile": true, "Seal": true, "SecretOf": true,
	"CheckNewApp": true, "CheckPasskey": true, "CheckReset": true, "GuessTimeZone": true, "Open": true, "Prefer": true,
	"SignUp": true,
}

// A database that fails is never a wrong password, a link that is too old, or an account that is gone: each method
// returns the database's own error, as it is or wrapped.
func TestDatabaseErrorsStayDatabaseErrors(t *testing.T) {
	t.Parallel()
	_, open := newAccounts(t)
	_, closed := newAccounts(t)
	closed.Close()
	methods := reflect.ValueOf(auth.New(closed, "the secret of this test", auth.Options{
		Sealer: sealedBy(t, 1), Cost: auth.Cost{Memory: 64, Passes: 1},
		Site: &url.URL{Scheme: "https", Host: "cairn.example.org"},
	}))
	for i := range methods.NumMethod() {
		name, method := methods.Type().Method(i).Name, methods.Method(i)
		if out := method.Type().NumOut(); out == 0 || method.Type().Out(out-1) != reflect.TypeFor[error]() {
			continue
		}
		tx, err := open.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), `this is no SQL`); err == nil { // from here on, each statement fails
			t.Fatal("PostgreSQL understands anything")
		}
		err = callWith(t, method, tx)
		_ = tx.Rollback(t.Context())
		if failed := isDatabase(err); failed == quiet[name] {
			t.Errorf("%s: the error is %v; the database's: %t", name, err, failed)
		}
	}
}

func isDatabase(err error) bool {
	_, refused := errors.AsType[*pgconn.PgError](err)
	return refused || err != nil && strings.Contains(err.Error(), "closed pool")
}

// callWith calls a method with arguments of the right types and returns its error.
func callWith(t *testing.T, method reflect.Value, tx pgx.Tx) error {
	t.Helper()
	texts := []string{"ada@example.org", "violet trombone canyon", "192.0.2.1", "a browser"}
	var args []reflect.Value
	for i := range method.Type().NumIn() {
		in := method.Type().In(i)
		switch {
		case in == reflect.TypeFor[context.Context]():
			args = append(args, reflect.ValueOf(t.Context()))
		case in == reflect.TypeFor[pgx.Tx]():
			args = append(args, reflect.ValueOf(tx))
		case in == reflect.TypeFor[[]auth.Count]():
			args = append(args, reflect.ValueOf([]auth.Count{auth.DefaultLimits().ChangePerson.Of(1)}))
		case in.Kind() == reflect.Int64:
			args = append(args, reflect.ValueOf(int64(1)))
		case in.Kind() == reflect.String:
			args, texts = append(args, reflect.ValueOf(texts[0]).Convert(in)), texts[1:]
		case in.Kind() == reflect.Pointer:
			args = append(args, reflect.New(in.Elem()))
		default:
			args = append(args, reflect.Zero(in))
		}
	}
	call := method.Call
	if method.Type().IsVariadic() {
		call = method.CallSlice
	}
	out := call(args)
	err, _ := out[len(out)-1].Interface().(error)
	return err
}
