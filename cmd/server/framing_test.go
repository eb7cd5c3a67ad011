package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"cairn/db/dbtest"
)

// A request with both Content-Length and Transfer-Encoding is refused and its connection closed, because a proxy may
// have read the body in the other way.
func TestBodyWithTwoLengths(t *testing.T) {
	t.Parallel()
	server := start(t, "PORT=0", "DATABASE_URL="+dbtest.NewPatientURL(t))
	host := strings.TrimPrefix(server.url, "http://")
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "POST /login HTTP/1.1\r\nHost: "+host+"\r\n"+
		"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
	answers, _ := io.ReadAll(conn) // what was not read may reset the connection in the end
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(answers))), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest || strings.Count(string(answers), "HTTP/1.1 ") != 1 {
		t.Errorf("got %s", answers)
	}
}
