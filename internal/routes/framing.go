package routes

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
)

// Framed is a listener whose connections notice requests with both Content-Length and
// Transfer-Encoding. A proxy in front and we may then read two bodies, one of which holds a request
// that nobody sent (RFC 9112, section 6.1); net/http drops the length before anybody sees it. The
// server needs WithFraming, too.
type Framed struct{ net.Listener }

// Accept waits for the next connection.
func (l Framed) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &framed{Conn: conn}, nil
}

type framingKey struct{}

// WithFraming is the http.Server's ConnContext.
func WithFraming(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, framingKey{}, conn)
}

// framedTwice tells whether a request came on this connection whose body has two lengths.
func framedTwice(r *http.Request) bool {
	conn, ok := r.Context().Value(framingKey{}).(*framed)
	return ok && conn.twice.Load()
}

// framed looks at the beginnings of the lines that are read. Those of bodies are among them, which
// does no harm: no browser and no provider sends lines like these two.
type framed struct {
	net.Conn
	line           []byte // what has come of the line, at most as much as the longer of the two names and a colon
	length, chunks bool   // the lines since the last empty one have such a header
	twice          atomic.Bool
}

func (c *framed) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.look(p[:n])
	return n, err
}

func (c *framed) look(read []byte) {
	for len(read) > 0 {
		line, rest, ended := bytes.Cut(read, []byte{'\n'})
		c.line = append(c.line, line[:min(len(line), len("transfer-encoding:")-len(c.line))]...)
		if ended {
			c.endLine()
		}
		read = rest
	}
}

func (c *framed) endLine() {
	name, _, header := strings.Cut(string(c.line), ":")
	switch {
	case header && strings.EqualFold(name, "Content-Length"):
		c.length = true
	case header && strings.EqualFold(name, "Transfer-Encoding"):
		c.chunks = true
	case name == "" || name == "\r":
		c.length, c.chunks = false, false
	}
	if c.length && c.chunks {
		c.twice.Store(true)
	}
	c.line = c.line[:0]
}
