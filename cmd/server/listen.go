package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/coreos/go-systemd/v22/activation"
)

// listen takes the socket that was passed to this process (LISTEN_FDS, as systemd does it), or opens PORT. A passed socket
// belongs to who passed it and stays open while the server is replaced: connections wait in it instead of being refused.
func listen(ctx context.Context, port int) (net.Listener, error) {
	passed, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("the passed socket can't be used: %w", err)
	}
	switch len(passed) {
	case 0:
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", ":"+strconv.Itoa(port))
		if err != nil {
			return nil, fmt.Errorf("PORT %d can't be used: %w", port, err)
		}
		return listener, nil
	case 1:
		if listener, ok := passed[0].(*net.TCPListener); ok {
			return listener, nil
		}
	}
	return nil, errors.New("the passed socket can't be used: exactly one is expected, a listening TCP socket (ListenStream)")
}
