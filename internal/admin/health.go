package admin

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
)

// AboutHealth explains Health.
const AboutHealth = `
It asks /readyz at PORT, and fails if the server there is not ready. It is a health
check for images without a shell.
`

// Health asks the server on this machine whether it is ready.
func Health(ctx context.Context, e Env, _ io.Writer) error {
	if err := Parse(e.Args, nil); err != nil {
		return err
	}
	c, err := e.Config()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, e.Limits.withDefaults().Health)
	defer cancel()
	at := net.JoinHostPort(c.SelfAddr(), strconv.Itoa(c.Port))
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
