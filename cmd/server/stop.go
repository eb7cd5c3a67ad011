package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"cairn/internal/config"
	"cairn/internal/routes"
)

// stopping takes a server out of service without failing a request. During the delay the server answers requests as
// before, but is not ready, and its answers ask clients to close the connection. So a balancer sends new requests
// elsewhere, and a connection in use ends between two requests. Closing idle connections earlier, as
// SetKeepAlivesEnabled does, would cut off a request that a balancer is just sending on one of them. The connections
// that are closed at the end were idle during the whole delay.
//
// http.Server.Shutdown is not used, because it drops requests that arrive later on connections it has accepted.
type stopping struct {
	config.StopTimes
	begun  atomic.Bool
	cut    chan struct{} // closed when downloads are cut off, which could take longer than stopping may
	closed chan struct{} // closed when no connection is accepted any more
	worked chan struct{} // closed when background work has ended; nil: stopping does not wait for it
	work   time.Duration // the longest wait for background work

	mu   sync.Mutex
	busy map[net.Conn]struct{} // connections on which a request is expected or in flight
}

func newStopping(times config.StopTimes, work time.Duration) *stopping {
	return &stopping{
		StopTimes: times, work: work,
		cut: make(chan struct{}), closed: make(chan struct{}), busy: map[net.Conn]struct{}{},
	}
}

// ready returns check, but failing once stopping has begun.
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

// serve accepts connections until drain closes the listeners or one of them fails.
func (s *stopping) serve(server *http.Server, open listeners) error {
	defer close(s.closed)
	server.ConnState, server.ConnContext = s.watch, routes.WithFraming
	var group errgroup.Group
	for _, listener := range open {
		group.Go(func() error {
			defer func() { _ = open.Close() }()
			return server.Serve(routes.Framed{Listener: listener})
		})
	}
	if err := group.Wait(); !s.begun.Load() {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

func (s *stopping) watch(conn net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == http.StateNew || state == http.StateActive {
		s.busy[conn] = struct{}{}
	} else {
		delete(s.busy, conn)
	}
}

// drain stops the server and returns when its last request is answered. It fails if requests were cut off.
func (s *stopping) drain(ctx context.Context, server *http.Server, open listeners) error {
	s.begun.Store(true)
	time.Sleep(s.Delay)
	s.awaitWork()
	close(s.cut)
	_ = open.Close()
	<-s.closed
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	defer func() { _ = server.Close() }()
	for tick := time.Tick(10 * time.Millisecond); s.isBusy(); {
		select {
		case <-ctx.Done():
			return fmt.Errorf("stop: requests were cut off: %w", ctx.Err())
		case <-tick:
		}
	}
	return nil
}

// awaitWork waits for background work, which may call the sandbox through this listener.
func (s *stopping) awaitWork() {
	if s.worked == nil {
		return
	}
	select {
	case <-s.worked:
	case <-time.After(s.work):
	}
}

// isBusy reports whether requests are expected or in flight. ReadHeaderTimeout closes connections on which none comes.
func (s *stopping) isBusy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.busy) > 0
}
