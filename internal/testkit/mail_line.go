package testkit

import (
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// line is how a MailServer behaves beneath SMTP.
type line struct {
	mu     sync.Mutex
	hangs  bool
	hangAt string        // after a client sent this
	hung   bool          // a client waits
	half   string        // the server says nothing more after these words; "": it does
	pause  time.Duration // between two bytes of the server; 0: none
	closed chan struct{} // with the server
}

// HangAt makes the server say nothing any more once a client has sent some words: like "RCPT TO", or "\r\n.\r\n", the
// end of a message; with "" from the start. It can't read words that are encrypted.
func (m *MailServer) HangAt(words string) {
	m.line.mu.Lock()
	defer m.line.mu.Unlock()
	m.line.hangs, m.line.hangAt = true, words
}

// BreakOff makes the server say nothing any more once it has said some words, though its answer goes on.
func (m *MailServer) BreakOff(words string) {
	m.line.mu.Lock()
	defer m.line.mu.Unlock()
	m.line.half = words
}

// Drip makes the server pause before each byte that it sends.
func (m *MailServer) Drip(pause time.Duration) {
	m.line.mu.Lock()
	defer m.line.mu.Unlock()
	m.line.pause = pause
}

// Hanging reports whether a client waits for an answer that will not come.
func (m *MailServer) Hanging() bool {
	m.line.mu.Lock()
	defer m.line.mu.Unlock()
	return m.line.hung
}

// hangsAfter reports whether the server hangs after what a client has sent.
func (l *line) hangsAfter(sent string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	hangs := l.hangs && strings.Contains(sent, l.hangAt)
	l.hung = l.hung || hangs
	return hangs
}

// wait waits for a time, and reports false if the server was closed meanwhile.
func (l *line) wait(pause time.Duration) bool {
	select {
	case <-time.After(pause):
		return true
	case <-l.closed:
		return false
	}
}

type lineListener struct {
	net.Listener
	line *line
}

func (l lineListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return &lineConn{Conn: conn, line: l.line}, err
}

// lineConn is a connection that hangs or is slow, as its line says.
type lineConn struct {
	net.Conn
	line *line
	sent string // the last bytes of the client
}

func (c *lineConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	sent := c.sent + string(p[:n])
	c.sent = sent[max(0, len(sent)-16):]
	if c.line.hangsAfter(sent) {
		<-c.line.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *lineConn) Write(p []byte) (int, error) {
	if c.line.hangsAfter("") {
		<-c.line.closed
		return 0, net.ErrClosed
	}
	c.line.mu.Lock()
	pause, half := c.line.pause, c.line.half
	c.line.mu.Unlock()
	if before, _, found := strings.Cut(string(p), half); found && half != "" {
		_, _ = io.WriteString(c.Conn, before+half)
		c.line.mu.Lock()
		c.line.hung = true
		c.line.mu.Unlock()
		<-c.line.closed
		return 0, net.ErrClosed
	}
	if pause == 0 {
		return c.Conn.Write(p)
	}
	for i := range p {
		if !c.line.wait(pause) {
			return i, net.ErrClosed
		}
		if _, err := c.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}
