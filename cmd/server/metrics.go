package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"cairn/internal/metrics"
)

// listenMetrics opens METRICS_ADDR. It returns nil if address is "".
func listenMetrics(ctx context.Context, address string) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("METRICS_ADDR %s can't be used: %w", address, err)
	}
	return listener, nil
}

// serveMetrics serves /metrics until stop is called. That is after the last request has been answered, so that
// Prometheus also sees how a server stops. It serves nothing if listener is nil.
func serveMetrics(l limits, listener net.Listener, m *metrics.Metrics, log *slog.Logger) (stop func()) {
	if listener == nil {
		return func() {}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.Handler())
	server := newHTTPServer(l, mux, log)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics are no longer served", "error", err)
		}
	}()
	log.Info("metrics are at http://" + listener.Addr().String() + "/metrics")
	return func() {
		_ = server.Close()
		<-done
	}
}
