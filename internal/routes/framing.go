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
// Transfer-Encoding. A proxy in front may read a body of another length than we do, and what is left
// would count as the next request (request smuggling: RFC 9112, section 6.1). net/http drops the
// length before a handler sees it. The server needs WithFraming, too.
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

// framedTwice reports whether a body with two lengths came on the request's connection.
func framedTwice(r *http.Request) bool {
	conn, ok := r.Context().Value(framingKey{}).(*framed)
	return ok && conn.twice.Load()
}

// framed looks at the beginning of each line that is read. Lines of bodies are among them, which does
// no harm: no browser and no provider sends bodies with lines like these two.
type framed struct {
	net.Conn
	line           []byte // the line so far, at most as long as the longer of the two names and a colon
	length, chunks bool   // such a header came since the last empty line
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
