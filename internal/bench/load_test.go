package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// load is a number of connections, each of which sends one request after the other.
type load struct {
	address     string // host:port
	connections int
	lasts       time.Duration
	requests    [][]byte // as bytes on the wire; each time one is chosen at random
}

// outcome is the result of a load.
type outcome struct {
	perSecond float64
	answers   map[int]int // by status
	took      []time.Duration
}

// getWith returns a request for a path with a cookie, as bytes on the wire.
func getWith(path, cookie string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: localhost\r\nCookie: session=%s\r\n\r\n", path, cookie)
}

func (l load) run(ctx context.Context) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, l.lasts)
	defer cancel()
	outcomes, errs := make([]outcome, l.connections), make([]error, l.connections)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range l.connections {
		wg.Go(func() { outcomes[i], errs[i] = l.client(ctx) })
	}
	wg.Wait()
	sum := outcome{answers: map[int]int{}}
	for i, o := range outcomes {
		if errs[i] != nil {
			return outcome{}, errs[i]
		}
		for status, n := range o.answers {
			sum.answers[status] += n
		}
		sum.took = append(sum.took, o.took...)
	}
	slices.Sort(sum.took)
	sum.perSecond = float64(len(sum.took)) / time.Since(began).Seconds()
	return sum, nil
}

// client does less than net/http's client on purpose: it shares the machine's cores with the server that is measured.
func (l load) client(ctx context.Context) (outcome, error) {
	o := outcome{answers: map[int]int{}}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.address)
	if err != nil {
		return o, err
	}
	defer func() { _ = conn.Close() }()
	r := bufio.NewReaderSize(conn, 32<<10)
	for ctx.Err() == nil {
		began := time.Now()
		if _, err := conn.Write(l.requests[rand.N(len(l.requests))]); err != nil {
			return o, err
		}
		status, err := readAnswer(r)
		if err != nil {
			return o, err
		}
		o.answers[status]++
		o.took = append(o.took, time.Since(began))
	}
	return o, nil
}

// readAnswer reads one answer, which must have a Content-Length, and returns its status.
func readAnswer(r *bufio.Reader) (status int, err error) {
	length := -1
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		switch line = bytes.TrimRight(line, "\r\n"); {
		case len(line) == 0 && length < 0:
			return 0, fmt.Errorf("bench: an answer %d has no Content-Length", status)
		case len(line) == 0:
			_, err := r.Discard(length)
			return status, err
		case status == 0:
			status, err = strconv.Atoi(string(line[len("HTTP/1.1 "):][:3]))
		case bytes.HasPrefix(line, []byte("Content-Length: ")):
			length, err = strconv.Atoi(string(line[len("Content-Length: "):]))
		}
		if err != nil {
			return 0, err
		}
	}
}

// only fails unless every answer had this status.
func (o outcome) only(status int) error {
	if len(o.answers) != 1 || o.answers[status] == 0 {
		return fmt.Errorf("bench: answers by status: %v, want only %d", o.answers, status)
	}
	return nil
}

// percentile returns the time within which a share of the answers came.
func (o outcome) percentile(share float64) time.Duration {
	if len(o.took) == 0 {
		return 0
	}
	return o.took[min(len(o.took)-1, int(share*float64(len(o.took))))].Round(10 * time.Microsecond)
}

// figures prints lines as they are measured.
type figures struct{ io.Writer }

func (f figures) line(format string, args ...any) { _, _ = fmt.Fprintf(f, format+"\n", args...) }

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
