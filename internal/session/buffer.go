package session

import (
	"bytes"
	"maps"
	"net/http"
	"strconv"
)

// bufferedResponse holds a response back until its session is saved. It is deliberately no Flusher and no Hijacker, and
// drops 1xx responses: what has been sent can't be taken back. Stream is the way out.
type bufferedResponse struct {
	w        http.ResponseWriter
	before   http.Header // what was set before the handler ran
	status   int
	started  bool
	streamed bool // it is not held back any more (Stream)
	body     bytes.Buffer
}

func newBufferedResponse(w http.ResponseWriter) *bufferedResponse {
	return &bufferedResponse{w: w, before: maps.Clone(w.Header()), status: http.StatusOK}
}

func (b *bufferedResponse) Header() http.Header { return b.w.Header() }

func (b *bufferedResponse) WriteHeader(status int) {
	if b.started || status < 200 {
		return
	}
	b.status, b.started = status, true
}

func (b *bufferedResponse) Write(p []byte) (int, error) {
	b.WriteHeader(http.StatusOK)
	return b.body.Write(p)
}

func (b *bufferedResponse) send() {
	if b.body.Len() > 0 {
		b.Header().Set("Content-Length", strconv.Itoa(b.body.Len()))
	}
	b.w.WriteHeader(b.status)
	_, _ = b.w.Write(b.body.Bytes()) // fails when the browser has gone
}

// discard leaves the response as it was before the handler ran.
func (b *bufferedResponse) discard() {
	clear(b.Header())
	maps.Copy(b.Header(), b.before)
}
