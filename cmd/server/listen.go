package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"cairn/internal/config"

	"github.com/coreos/go-systemd/v22/activation"
)

// listeners are the sockets on which the server accepts connections. All have the same port.
type listeners []net.Listener

func (l listeners) port() int { return l[0].Addr().(*net.TCPAddr).Port }

func (l listeners) Close() error {
	var err error
	for _, listener := range l {
		err = errors.Join(err, listener.Close())
	}
	return err
}

// listen takes the socket that was passed to this process (LISTEN_FDS, as systemd does it), or opens PORT. A passed
// socket stays open while the server is replaced, so connections wait in it and are not refused.
func listen(ctx context.Context, c config.Config) (listeners, error) {
	passed, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("the passed socket can't be used: %w", err)
	}
	switch len(passed) {
	case 0:
		return open(ctx, c)
	case 1:
		if listener, ok := passed[0].(*net.TCPListener); ok {
			return listeners{listener}, nil
		}
	}
	return nil, errors.New("the passed socket can't be used: " +
		"exactly one is expected, a listening TCP socket (ListenStream)")
}

// open opens PORT. In development it does so only at the two addresses that localhost may mean, so that no other
// machine can reach the sandbox.
func open(ctx context.Context, c config.Config) (listeners, error) {
	if c.Production || c.ListenAddr != "" {
		listener, err := listenOn(ctx, c.ListenAddr, c.Port)
		return listeners{listener}, err
	}
	for tries := 1; ; tries++ {
		first, err := listenOn(ctx, "127.0.0.1", c.Port)
		if err != nil {
			return nil, err
		}
		opened := listeners{first}
		second, err := listenOn(ctx, "::1", opened.port())
		switch {
		case err == nil:
			return append(opened, second), nil
		case !errors.Is(err, syscall.EADDRINUSE): // a machine without IPv6
			return opened, nil
		}
		_ = opened.Close()
		if c.Port != 0 || tries == portTries {
			return nil, err
		}
	}
}

// portTries is how many free ports are tried until one is free on both addresses.
const portTries = 10

func listenOn(ctx context.Context, host string, port int) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL) && host != "::1":
		return nil, fmt.Errorf("LISTEN_ADDR %s is not an address of this machine: %w", host, err)
	case err != nil:
		return nil, fmt.Errorf("PORT %d can't be used: %w", port, err)
	}
	return listener, nil
}
