package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

// wire is a connection on which a test speaks HTTP itself, to see when the server closes it.
type wire struct {
	t *testing.T
	net.Conn
	answers *bufio.Reader
}

func dial(t *testing.T, site string) wire {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(site, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(testkit.Patience))
	return wire{t, conn, bufio.NewReader(conn)}
}

func (w wire) get(path string) *http.Response {
	w.t.Helper()
	if _, err := fmt.Fprintf(w, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path); err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.ReadResponse(w.answers, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		w.t.Fatal(err)
	}
	return resp
}

// While it stops, a server is not ready, but goes on answering on new and old connections, and closes each after an
// answer.
func TestStopIsAnnounced(t *testing.T) {
	t.Parallel()
	l := patient()
	l.RequestHeader = testkit.Patience
	server := startProcess(t, "DATA_DIR="+testkit.DataDir(t), "PORT=0", "DATABASE_URL="+dbtest.NewPatientURL(t),
		"SHUTDOWN_DELAY=10m", limited(l))
	old, unused := dial(t, server.URL), dial(t, server.URL)
	for _, w := range []wire{old, unused} {
		if resp := w.get("/readyz"); resp.StatusCode != http.StatusOK || resp.Close {
			t.Fatalf("before: %s, closes: %t", resp.Status, resp.Close)
		}
	}
	server.Signal(syscall.SIGTERM)
	testkit.Eventually(t, "readiness is off", func() bool {
		return dial(t, server.URL).get("/readyz").StatusCode == http.StatusServiceUnavailable
	})
	for path, w := range map[string]wire{
		"/login":   old,
		"/signup":  dial(t, server.URL),
		"/healthz": dial(t, server.URL),
	} {
		if resp := w.get(path); resp.StatusCode != http.StatusOK || !resp.Close {
			t.Errorf("%s while it stops: %s, closes: %t", path, resp.Status, resp.Close)
		}
		if _, err := w.answers.ReadByte(); err != io.EOF {
			t.Errorf("%s: after the answer came %v, want the end", path, err)
		}
	}
	if resp := unused.get("/login"); resp.StatusCode != http.StatusOK {
		t.Errorf("on a connection that had been idle: %s", resp.Status)
	}
	begun := time.Now()
	if code := server.End(syscall.SIGTERM); code != -1 || time.Since(begun) > testkit.Patience/2 {
		t.Errorf("a second signal: code %d after %v, want a kill at once", code, time.Since(begun))
	}
}

// A connection that was accepted before the listener closed is answered, even if its request comes later.
func TestStopServesAcceptedConnections(t *testing.T) {
	t.Parallel()
	l := patient()
	l.RequestHeader = testkit.Patience
	server := start(t, "PORT=0", "DATABASE_URL="+dbtest.NewPatientURL(t),
		"SHUTDOWN_TIMEOUT=10m", limited(l))
	silent := dial(t, server.url)
	dial(t, server.url).get("/login") // accepted after the silent one
	server.stop()
	testkit.Eventually(t, "the listener is closed", func() bool {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(server.url, "http://"))
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	if resp := silent.get("/login"); resp.StatusCode != http.StatusOK || !resp.Close {
		t.Errorf("%s, closes: %t", resp.Status, resp.Close)
	}
	if code := server.end(); code != 0 {
		t.Errorf("exit code %d, want 0:\n%s", code, server.logged())
	}
}

// A request that takes longer than SHUTDOWN_TIMEOUT is cut off, and the exit code says so.
func TestStopDoesNotWaitForever(t *testing.T) {
	t.Parallel()
	server := start(t, "PORT=0", "DATABASE_URL="+dbtest.NewPatientURL(t), "SHUTDOWN_TIMEOUT=1s")
	w := dial(t, server.url)
	w.get("/login") // so that the next request is read at once
	_, _ = io.WriteString(w, "POST /login HTTP/1.1\r\nHost: localhost\r\n"+
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n"+
		"Expect: 100-continue\r\n\r\n")
	if line, err := w.answers.ReadString('\n'); !strings.Contains(line, "100 Continue") {
		t.Fatalf("the server does not wait for the form: %q %v", line, err)
	}
	if code := server.end(); code != 1 || !strings.Contains(server.logged(), "requests were cut off") {
		t.Errorf("exit code %d, want 1:\n%s", code, server.logged())
	}
}

// A download that nobody reads does not keep a server from stopping. The browser sees that the download failed.
func TestStopCutsDownloadsOff(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	database := dbtest.NewPatientURL(t)
	server := start(t, "PORT=0", "DATABASE_URL="+database, "SHUTDOWN_TIMEOUT=10m", limited(patient()))
	b := testkit.NewBrowser(t)
	b.SignUp(server.url, "ada@example.org")
	testkit.Execute(t, database, testkit.LongHistory(10_000)) // more than the connection's buffers hold
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.url+"/account/data", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := b.Do(r)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("the download does not begin: %v (error %v)", resp, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if code := server.end(); code != 0 || !strings.Contains(server.logged(), "download cut off") {
		t.Errorf("exit code %d, want 0:\n%s", code, server.logged())
	}
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("the download ends like a whole one")
	}
}
