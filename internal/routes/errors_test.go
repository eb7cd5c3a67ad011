package routes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestDatabaseFailuresAreNotOurBugs(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	for name, tt := range map[string]struct {
		err    error
		status int
	}{
		"cut off while it answered": {io.ErrUnexpectedEOF, 503},
		"closed":                    {io.EOF, 503},
		"network":                   {&net.OpError{Op: "read", Err: errors.New("connection reset by peer")}, 503},
		"no connection":             {&pgconn.ConnectError{}, 503},
		"deadline":                  {context.DeadlineExceeded, 503},
		"shutting down":             {&pgconn.PgError{Code: "57P01"}, 503},
		"statement timeout":         {&pgconn.PgError{Code: "57014"}, 503},
		"lock timeout":              {&pgconn.PgError{Code: "55P03"}, 503},
		"too many connections":      {&pgconn.PgError{Code: "53300"}, 503},
		"disk full":                 {&pgconn.PgError{Code: "53100"}, 503},
		"read-only":                 {&pgconn.PgError{Code: "25006"}, 503},
		"syntax error":              {&pgconn.PgError{Code: "42601"}, 500},
		"constraint":                {&pgconn.PgError{Code: "23505"}, 500},
		"anything else":             {errors.New("no idea"), 500},
	} {
		if got := (&server{}).explain(r, fmt.Errorf("store: read: %w", tt.err)).Status; got != tt.status {
			t.Errorf("%s: status %d, want %d", name, got, tt.status)
		}
	}
}
