package dbtest

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Closed returns a pool on which each statement fails.
func Closed(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool := New(t)
	pool.Close()
	return pool
}

// WantErrors calls each method of a store that may return an error, and wants it to return the database's error, as it
// is or wrapped. The store has a pool that is Closed, and transactions in the arguments are broken. The other arguments
// are those in special, by their types, or made up. The methods in quiet must not return the database's error.
func WantErrors(t *testing.T, store any, special []any, quiet ...string) {
	t.Helper()
	pool, methods := New(t), reflect.ValueOf(store)
	for i := range methods.NumMethod() {
		name, method := methods.Type().Method(i).Name, methods.Method(i)
		if out := method.Type().NumOut(); out == 0 || method.Type().Out(out-1) != reflect.TypeFor[error]() {
			continue
		}
		tx, err := pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), `no SQL`); err == nil {
			t.Fatal("the transaction is not broken")
		}
		err = func() error {
			defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }() // even if the method panics
			return call(t, method, append(special, tx))
		}()
		if failed := isOfDatabase(err); failed == slices.Contains(quiet, name) {
			t.Errorf("%s returns the error %v; it is the database's: %t", name, err, failed)
		}
	}
}

func isOfDatabase(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "closed pool") ||
		strings.Contains(err.Error(), "current transaction is aborted"))
}

// call calls a method with arguments of the right types, and returns its error.
func call(t *testing.T, method reflect.Value, special []any) error {
	t.Helper()
	texts := []string{"ada@example.org", "violet trombone canyon", "192.0.2.1", "a browser"}
	var args []reflect.Value
	for in := range method.Type().Ins() {
		known := slices.IndexFunc(special, func(v any) bool { return reflect.TypeOf(v).AssignableTo(in) })
		switch {
		case in == reflect.TypeFor[context.Context]():
			args = append(args, reflect.ValueOf(t.Context()))
		case known >= 0:
			args = append(args, reflect.ValueOf(special[known]))
		case in.Kind() == reflect.Int64:
			args = append(args, reflect.ValueOf(int64(1)).Convert(in))
		case in.Kind() == reflect.String:
			args, texts = append(args, reflect.ValueOf(texts[0]).Convert(in)), texts[1:]
		case in.Kind() == reflect.Pointer:
			args = append(args, reflect.New(in.Elem()))
		default:
			args = append(args, reflect.Zero(in))
		}
	}
	do := method.Call
	if method.Type().IsVariadic() {
		do = method.CallSlice
	}
	out := do(args)
	err, _ := out[len(out)-1].Interface().(error)
	return err
}
