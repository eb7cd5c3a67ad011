package testkit_test

import (
	"context"
	"net"
	"os/exec"
	"sync"
	"testing"

	"cairn/internal/testkit"
)

// The port of a server that has ended is free for the next one, though processes are started all the time.
func TestAwaitFree(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	var starting sync.WaitGroup
	for range 4 {
		starting.Go(func() {
			for ctx.Err() == nil {
				_ = exec.CommandContext(ctx, "true").Run()
			}
		})
	}
	t.Cleanup(starting.Wait)
	t.Cleanup(stop)
	port := testkit.FreePort(t)
	for range 200 {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		_ = listener.Close()
		testkit.AwaitFree(t, port)
	}
}

// A port that a test has is no other's, even if nobody listens on it.
func TestFreePortIsReserved(t *testing.T) {
	t.Parallel()
	socket, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:"+testkit.FreePort(t))
	if err == nil {
		_ = socket.Close()
		t.Error("another test could get it")
	}
}
