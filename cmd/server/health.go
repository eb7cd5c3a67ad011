package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
)

const aboutHealth = `
It asks /readyz at PORT, and fails if the server there is not ready. It is the
health check of images without a shell.
`

func healthCommand(ctx context.Context, e env, _ io.Writer) error {
	if err := parse(e.args, nil); err != nil {
		return err
	}
	config, err := e.config()
	if err != nil {
		return err
	}
	return health(ctx, config)
}

func health(ctx context.Context, config Config) error {
	ctx, cancel := context.WithTimeout(ctx, config.limits.Health)
	defer cancel()
	at := net.JoinHostPort(config.selfAddr(), strconv.Itoa(config.Port))
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s", resp.Status)
	}
	return nil
}
