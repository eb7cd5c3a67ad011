package routes_test

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/export"
	"cairn/internal/testkit"
)

// A reader that stops reading is cut off, and its place is free.
func TestRaceDownloadOfASlowReader(t *testing.T) {
	t.Parallel()
	pages := patientPages
	pages.Write = 2 * time.Second
	s := newSiteWith(t, options{pages: pages, exports: []export.Part{endless()}})
	b := signedUp(t, s, "ada@example.org")
	slow := b.begin()
	testkit.Eventually(t, "the slow reader is cut off", func() bool {
		return strings.Contains(s.log.String(), "download cut off")
	})
	wantCutOff(t, slow)
	b.begin()
}

// wantCutOff checks that the browser notices the end of its download.
func wantCutOff(t *testing.T, resp *http.Response) {
	t.Helper()
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("the download ends like a whole one")
	}
}

// A download outlives the deadlines of a page and of an answer, and has one of its own.
func TestDownloadTakesLong(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	const page = 3 * time.Second
	s := newSiteWith(t, options{exports: []export.Part{endless()}})
	b := signedUp(t, s, "ada@example.org")
	hasty := patientPages
	hasty.Page = page
	s = newSiteWith(t, options{pool: s.pool, pages: hasty, answer: page, exports: []export.Part{endless()}})
	b.site = s
	long := b.begin()
	for begun := time.Now(); time.Since(begun) < page; { // reads meanwhile
		if _, err := io.CopyN(io.Discard, long.Body, 1<<16); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.CopyN(io.Discard, long.Body, 1<<20); err != nil {
		t.Errorf("the download is cut off with the deadline of a page: %v", err)
	}
	_ = long.Body.Close()

	hasty = patientPages
	hasty.Download = time.Nanosecond
	b.site = newSiteWith(t, options{pool: s.pool, pages: hasty})
	b.post(download).want(http.StatusServiceUnavailable, "h1", "took too long")
}

// A server that stops ends its downloads, also of those who don't read. Other tests' downloads would be counted too, so
// this one runs alone.
func TestRaceDownloadWhenTheServerStops(t *testing.T) {
	stop := make(chan struct{})
	s := newSiteWith(t, options{stop: stop, exports: []export.Part{endless()}})
	ada, moss := signedUp(t, s, "ada@example.org"), signedUp(t, s, "moss@example.org")
	reading, waiting := ada.begin(), moss.begin()
	testkit.Eventually(t, "both wait for their readers", func() bool { return stalled() >= 2 })
	close(stop)
	wantCutOff(t, reading)
	testkit.Eventually(t, "both downloads have ended", func() bool {
		return strings.Count(s.log.String(), "download cut off") == 2
	})
	wantCutOff(t, waiting)
	ada.post(download).want(http.StatusServiceUnavailable, "h1", "restarting")
}

// A download does not return its response to the server while it is being cut off.
func TestDownloadEndsAfterItsCut(t *testing.T) {
	t.Parallel()
	stop, sent := make(chan struct{}), make(chan struct{})
	cutting, cut := make(chan struct{}), make(chan struct{})
	part := export.List("part.json", "fails", func(_ context.Context, _ int64, after int) ([]string, int, error) {
		if after == 0 {
			return []string{hex.EncodeToString(noise(1 << 16))}, 1, nil
		}
		close(sent)
		<-cutting
		return nil, 0, errors.New("the part fails")
	})
	s := newSiteWith(t, options{stop: stop, exports: []export.Part{part}, conn: func(conn net.Conn) net.Conn {
		return cutConn{conn, cutting, cut}
	}})
	download := signedUp(t, s, "ada@example.org").begin()
	go func() { _, _ = io.Copy(io.Discard, download.Body) }()
	<-sent
	close(stop)
	<-cutting
	ended := func() bool { return strings.Contains(s.log.String(), "download cut off") }
	testkit.Eventually(t, "the download waits for the cut, or ends", func() bool {
		return ended() || inFunction("routes.(*stream).end") > 0
	})
	if ended() {
		t.Error("the download has ended, and is still being cut off")
	}
	close(cut)
	testkit.Eventually(t, "the download has ended", ended)
}

// cutConn is a connection that closes cutting when it is to be cut off, and is cut off when cut is closed.
type cutConn struct {
	net.Conn
	cutting, cut chan struct{}
}

func (c cutConn) SetWriteDeadline(t time.Time) error {
	if !t.IsZero() && t.Before(time.Now()) {
		close(c.cutting)
		<-c.cut
	}
	return c.Conn.SetWriteDeadline(t)
}

// tight is a listener whose connections buffer little, so that a download soon waits for its reader.
type tight struct {
	net.Listener
	wrap func(net.Conn) net.Conn // puts something around a connection; nil: nothing does
}

func (l tight) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(64 << 10) // an error means that the browser has gone
	}
	if err == nil && l.wrap != nil {
		conn = l.wrap(conn)
	}
	return conn, err
}

// stalled returns how many downloads wait for their readers, because the buffers of the connections are full.
func stalled() int { return inFunction("[IO wait", "routes.(*stream).Write") }

// inFunction returns how many goroutines have all these words in their stacks.
func inFunction(words ...string) (n int) {
	text := make([]byte, 8<<20)
	for stack := range strings.SplitSeq(string(text[:runtime.Stack(text, true)]), "\n\n") {
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(stack, word) }) {
			n++
		}
	}
	return n
}

// A session that ends takes its download along, so that somebody who finds a stranger there can stop them.
func TestDownloadOfASessionThatEnds(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, options{exports: []export.Part{endless()}})
	thief := signedUp(t, s, "ada@example.org")
	stolen := thief.begin()
	owner := newBrowser(t, s)
	owner.post("/login", "email", "ada@example.org", "password", password).to("/")
	owner.post("/account/sessions/end-others").to("/account#sessions")
	wantCutOff(t, stolen)
}
