package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// stopTimes say how a server goes out of service.
type stopTimes struct {
	delay   time.Duration // from readiness off to the listener closed: as long as a balancer takes to notice
	timeout time.Duration // then, for requests in flight; a callback that waits for a provider needs the most, 30 s
}

// stopping is a server that goes out of service unnoticed. During the delay it serves as before, but is not ready, and its
// answers ask clients to close the connection. So a balancer sends new requests elsewhere, and a connection in use ends
// between two requests. To close idle connections already now (SetKeepAlivesEnabled does) would cut off the request
// that a balancer is just sending on one. Those that Shutdown closes in the end were unused for the whole delay.
type stopping struct {
	stopTimes
	begun atomic.Bool
}

// ready is check until stopping begins, and an error from then on.
func (s *stopping) ready(check func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if s.begun.Load() {
			return errors.New("the server is stopping")
		}
		return check(ctx)
	}
}

func (s *stopping) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.begun.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// drain stops the server and returns when its last request is answered. It fails when requests had to be cut off.
func (s *stopping) drain(ctx context.Context, server *http.Server) error {
	s.begun.Store(true)
	time.Sleep(s.delay)
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return fmt.Errorf("stop: requests were cut off: %w", err)
	}
	return nil
}
