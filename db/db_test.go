package db_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"cairn/db"
	"cairn/db/dbtest"
	"cairn/internal/testkit"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

func TestOpenSetsDefaultsWhichTheURLOverrides(t *testing.T) {
	t.Parallel()
	server := dbtest.NewURL(t)
	tests := map[string]struct {
		parameters string
		want       map[string]string
	}{
		"defaults": {"", map[string]string{
			"application_name": "cairn", "search_path": "cairn", "TimeZone": "UTC", "statement_timeout": "10s",
			"lock_timeout": "5s", "idle_in_transaction_session_timeout": "30s",
		}},
		"as parameters": {"&statement_timeout=3s&application_name=other", map[string]string{
			"application_name": "other", "search_path": "cairn", "statement_timeout": "3s", "lock_timeout": "5s",
		}},
		"as options": {"&options=-c%20statement_timeout%3D4s", map[string]string{
			"application_name": "cairn", "statement_timeout": "4s", "lock_timeout": "5s",
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			pool, err := db.Open(t.Context(), server+test.parameters, quiet())
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			for setting, want := range test.want {
				var got string
				if err := pool.QueryRow(t.Context(), "SELECT current_setting($1)", setting).Scan(&got); err != nil {
					t.Fatal(err)
				}
				if got != want {
					t.Errorf("%s = %q, want %q", setting, got, want)
				}
			}
		})
	}
}

// Each of these must fail at once, in words that help and give nothing away.
func TestOpenGivesUpAtOnce(t *testing.T) {
	t.Parallel()
	real, err := url.Parse(dbtest.NewEmptyURL(t))
	if err != nil {
		t.Fatal(err)
	}
	real.Path = "/secretdb"
	refuse := func(code string) string { return at(refusing(t, code), "") }
	tests := map[string]struct{ url, want string }{
		"no database of that name": {real.String(), "no database"},
		"wrong password":           {refuse("28P01"), "refuses the user name or password"},
		"not admitted":             {refuse("28000"), "sslmode"},
		"may not connect":          {refuse("42501"), "may not connect"},
		"unknown parameter":        {refuse("42704"), "parameter"},
		"no TLS":                   {at(speakingTLS(t, 'N'), "?sslmode=require"), "does not speak TLS"},
		"certificate, full":        {at(speakingTLS(t, 'S'), "?sslmode=verify-full"), "not trusted"},
		"missing CA": {
			at("127.0.0.1:1", "?sslmode=verify-full&sslrootcert=/no/such.crt"),
			"/no/such.crt",
		},
		"port":                    {"postgres://secretuser:secretpw@127.0.0.1:secretport/secretdb", "invalid port"},
		"slash in the password":   {"postgres://secretuser:secret/pw@127.0.0.1/secretdb", "malformed"},
		"percent in the password": {"postgres://secretuser:secret%pw@127.0.0.1/secretdb", "malformed"},
		"sslmode":                 {at("127.0.0.1:1", "?sslmode=secretmode"), "malformed"},
		"pool":                    {at("127.0.0.1:1", "?pool_max_conns=secret"), "malformed: pool"},
		"no URL":                  {"secretuser:secretpw", "malformed"},
		"other scheme":            {"mysql://secretuser:secretpw@127.0.0.1/secretdb", "malformed"},
		"nothing":                 {"", "empty"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lines, log := newJournal()
			ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
			defer cancel()
			_, err := db.Open(ctx, test.url, log)
			if err == nil {
				t.Fatal("it opened")
			}
			if ctx.Err() != nil || lines.String() != "" {
				t.Errorf("it was tried again: %v\n%s", err, lines)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error does not say %q: %v", test.want, err)
			}
			for cause := err; cause != nil; cause = errors.Unwrap(cause) {
				mustNotReveal(t, cause.Error())
			}
		})
	}
}

func TestOpenWaits(t *testing.T) {
	t.Parallel()
	silent := listen(t)
	tests := map[string]struct{ address, reason string }{
		"closed port":     {closedAddress(t), "connection refused"},
		"no answer":       {silent.Addr().String(), "no answer"},
		"starting up":     {refusing(t, "57P03"), "57P03"},
		"shutting down":   {refusing(t, "57P01"), "57P01"},
		"too many":        {refusing(t, "53300"), "53300"},
		"pooler":          {refusing(t, "08P01"), "08P01"},
		"broken off":      {refusing(t, ""), "broken off"},
		"no such machine": {"no-such-machine.invalid:5432", "cannot be resolved"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lines, log := newJournal()
			enough := errors.New("that is long enough")
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() { <-lines.first; cancel(enough) }()
			_, err := db.Open(ctx, at(test.address, "?connect_timeout=1"), log)
			if !errors.Is(err, enough) {
				t.Fatalf("it did not wait until its context ended: %v", err)
			}
			if !strings.Contains(err.Error(), test.reason) {
				t.Errorf("the error does not say %q: %v", test.reason, err)
			}
			mustNotReveal(t, err.Error()+lines.String())
			if text := lines.String(); text != "" && !strings.Contains(text, `"database":"`+test.address+`"`) {
				t.Errorf("the log does not name the database: %s", text)
			}
		})
	}
}

func TestOpenStopsWaitingWhenCancelled(t *testing.T) {
	t.Parallel()
	lines, log := newJournal()
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-lines.first; cancel(errors.New("stopped by the test")) }()
	_, err := db.Open(ctx, at(closedAddress(t), ""), log)
	if err == nil || !strings.Contains(err.Error(), "stopped by the test") {
		t.Errorf("got %v", err)
	}
}

func TestOpenSucceedsWhenTheDatabaseComesUp(t *testing.T) {
	t.Parallel()
	real, err := pgx.ParseConfig(dbtest.NewURL(t))
	if err != nil {
		t.Fatal(err)
	}
	address := closedAddress(t)
	lines, log := newJournal()
	go func() {
		<-lines.first
		forward(t, address, real)
	}()
	pool, err := db.Open(t.Context(), "postgres://"+real.User+"@"+address+"/"+real.Database+"?sslmode=disable", log)
	if err != nil {
		t.Fatal(err)
	}
	pool.Close()
	if !strings.Contains(lines.String(), "connection refused") {
		t.Errorf("the log does not mention the wait: %s", lines)
	}
}

func mustNotReveal(t *testing.T, text string) {
	t.Helper()
	if strings.Contains(text, "secret") {
		t.Errorf("it reveals a secret: %s", text)
	}
}

// at returns a URL with a secret in every part that may have one.
func at(address, parameters string) string {
	return "postgres://secretuser:secretpw@" + address + "/secretdb" + parameters
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

func closedAddress(t *testing.T) string {
	t.Helper()
	listener := listen(t)
	_ = listener.Close()
	return listener.Addr().String()
}

// serve gives each connection to handle and then closes it.
func serve(t *testing.T, listener net.Listener, handle func(net.Conn)) {
	t.Helper()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { defer func() { _ = conn.Close() }(); handle(conn) }()
		}
	}()
}

// refusing returns the address of a server that answers every client with an error of that code, and a message with
// secrets. Without a code it just hangs up.
func refusing(t *testing.T, code string) string {
	t.Helper()
	listener := listen(t)
	serve(t, listener, func(conn net.Conn) {
		backend := pgproto3.NewBackend(conn, conn)
		for {
			message, err := backend.ReceiveStartupMessage()
			if err != nil || code == "" {
				return
			}
			if _, ok := message.(*pgproto3.StartupMessage); ok {
				break
			}
			_, _ = conn.Write([]byte("N")) // no TLS, no GSS encryption
		}
		backend.Send(&pgproto3.ErrorResponse{
			Severity: "FATAL",
			Code:     code,
			Message:  `user "secretuser" of secretdb has secretpw`,
		})
		_ = backend.Flush()
	})
	return listener.Addr().String()
}

// speakingTLS returns the address of a server that answers a request for TLS with answer, 'S' followed by a self-signed
// certificate.
func speakingTLS(t *testing.T, answer byte) string {
	t.Helper()
	web := httptest.NewTLSServer(nil)
	t.Cleanup(web.Close)
	listener := listen(t)
	serve(t, listener, func(conn net.Conn) {
		_, _ = io.ReadFull(conn, make([]byte, 8))
		_, _ = conn.Write([]byte{answer})
		if answer == 'S' {
			_ = tls.Server(conn, web.TLS).HandshakeContext(t.Context())
		}
	})
	return listener.Addr().String()
}

// forward makes the database in config available at address, too.
func forward(t *testing.T, address string, config *pgx.ConnConfig) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Errorf("listen at an address that was free a moment ago: %v", err)
		return
	}
	t.Cleanup(func() { _ = listener.Close() })
	serve(t, listener, func(conn net.Conn) {
		network, place := pgconn.NetworkAddress(config.Host, config.Port)
		real, err := net.Dial(network, place)
		if err != nil {
			return
		}
		defer func() { _ = real.Close() }()
		go func() { _, _ = io.Copy(real, conn) }()
		_, _ = io.Copy(conn, real)
	})
}
